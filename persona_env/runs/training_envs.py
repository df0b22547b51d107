"""The dialogues a learner trains in: token-level, vectorised, with its rewards around them."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import load_env_creator
from gymnasium.vector import VectorEnv

from persona_env.judges.base import Judge
from persona_env.runs.config import RunConfig
from persona_env.roles import role_named

__all__ = ["rewarded_dialogues"]

_REWARDS = "persona_wrappers.vector:ConsistencyRewards"


def rewarded_dialogues(settings: RunConfig, judge: Judge | None = None) -> VectorEnv[Any, Any, Any]:
    """Returns the training dialogues of a run, one action a token, with all rewards in one judge batch a step.

    Args:
        settings: The run.
        judge: Its judge; None for the one that the settings name.

    Raises:
        ValueError: If a persona source, task agent, judge or simulator cannot be had.
    """
    envs = gym.make_vec(
        "persona_env/DialogueTokens-v0",
        role=settings.role,
        num_envs=settings.envs,
        simulator=settings.simulator,
        personas=settings.personas,
        split="train",
        task_agent=settings.task_agent,
        max_lines=settings.lines,
        max_tokens=settings.max_tokens,
    )
    rewards: Any = load_env_creator(_REWARDS)
    return rewards(envs, weights=dict(settings.rewards), judge=judge or settings.judge)
