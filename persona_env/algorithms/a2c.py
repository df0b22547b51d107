"""Advantage actor-critic: stable-baselines3's own A2C on tokens.

Source: Mnih et al., arXiv 1602.01783. One gradient step a rollout, so it wants more tokens than PPO.
"""

from __future__ import annotations

from typing import Any

from stable_baselines3 import A2C
from stable_baselines3.common.vec_env import VecEnv
from torch.optim import Adam

from persona_env.runs.config import RunConfig
from persona_env.runs.memory import memory_options
from persona_env.sb3 import TokenPolicy, TrajectoryRolloutBuffer

__all__ = ["make_a2c"]


def make_a2c(envs: VecEnv, settings: RunConfig, model: Any) -> A2C:
    """Returns A2C on the dialogues, with the model (a spec or a loaded one) as its policy."""
    return A2C(
        TokenPolicy,
        envs,
        n_steps=settings.steps,
        learning_rate=settings.learning_rate_at,
        gamma=1.0,
        vf_coef=0.1,
        max_grad_norm=1.0,
        normalize_advantage=not settings.kl_coef,
        seed=settings.seed,
        device="auto",
        rollout_buffer_class=TrajectoryRolloutBuffer,
        rollout_buffer_kwargs=dict(
            line_gamma=settings.line_gamma,
            line_lambda=settings.line_lambda,
            reward_centering=True,
            kl_in="loss" if settings.kl_coef else "reward",
        ),
        ent_coef=settings.kl_coef,
        policy_kwargs=dict(
            model=model,
            reference="initial" if settings.kl_coef else None,
            optimizer_class=Adam,
            optimizer_kwargs=dict(eps=1e-6),
            **memory_options(settings),
        ),
    )
