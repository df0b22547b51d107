"""A rollout and what was seen in it, for the adapter's tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from stable_baselines3 import PPO
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import VecEnv

from persona_env.sb3 import TokenPolicy, TrajectoryRolloutBuffer, as_sb3


def make(envs: VectorEnv[Any, Any, Any] | VecEnv, model: Any, algorithm: Any = PPO, **options: Any) -> Any:
    """The algorithm with the settings that the tests share; options override them."""
    policy = {"model": model, **options.pop("policy_kwargs", {})}
    settings: dict[str, Any] = {"n_steps": 32, "gamma": 1.0, "seed": 0, "device": "cpu"}
    if algorithm is PPO:
        settings |= {"batch_size": 32, "n_epochs": 1}
    made = algorithm(
        TokenPolicy,
        envs if isinstance(envs, VecEnv) else as_sb3(envs),
        rollout_buffer_class=TrajectoryRolloutBuffer,
        policy_kwargs=policy,
        **(settings | options),
    )
    made.set_logger(configure(None, []))
    return made


def collect(algorithm: Any) -> list[np.ndarray]:
    """Plays one rollout; returns the contexts (N, context) before each step, copied."""
    contexts: list[np.ndarray] = []
    add = algorithm.rollout_buffer.add

    def spy(obs: Any, *rest: Any) -> None:
        contexts.append(np.array(obs))
        add(obs, *rest)

    algorithm.rollout_buffer.add = spy
    _, callback = algorithm._setup_learn(1, reset_num_timesteps=False)
    callback.on_training_start({}, {})
    algorithm.collect_rollouts(algorithm.env, callback, algorithm.rollout_buffer, algorithm.n_steps)
    algorithm.rollout_buffer.add = add
    return contexts


def random_values(algorithm: Any) -> None:
    """A value head that says something; at first it says 0 everywhere."""
    with torch.no_grad():
        algorithm.policy.value_head.outer.weight.normal_(0, 0.1)
