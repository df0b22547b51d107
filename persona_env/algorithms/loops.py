"""The algorithms by name."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from persona_env.algorithms.a2c import make_a2c
from persona_env.algorithms.ppo import make_ppo
from persona_env.runs.config import RunConfig

__all__ = ["make_learner"]

_LOOPS = {"ppo": make_ppo, "a2c": make_a2c}


def make_learner(envs: VecEnv, settings: RunConfig, model: Any) -> OnPolicyAlgorithm:
    """Returns the run's algorithm on its dialogues, with the model as policy."""
    return _LOOPS[settings.algorithm](envs, settings, model)
