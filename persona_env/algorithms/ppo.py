"""Proximal policy optimisation: stable-baselines3's own PPO on tokens.

The KL penalty is in the loss, where it is the exact divergence at each token; in the reward it would be one sample
of it. At the same divergence from the reference that leaves less drift, and the gain on held-out personas is nearly
that on training personas.

Source: Schulman et al., arXiv 1707.06347; the settings that differ from stable-baselines3's defaults were
measured on the embedded world's `dev` split.
"""

from __future__ import annotations

from typing import Any

from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv

from persona_env.runs.config import RunConfig
from persona_env.runs.memory import memory_options
from persona_env.sb3 import TokenPolicy, TrajectoryRolloutBuffer

__all__ = ["make_ppo"]


def make_ppo(envs: VecEnv, settings: RunConfig, model: Any) -> PPO:
    """Returns PPO on the dialogues, with the model (a spec or a loaded one) as its policy."""
    return PPO(
        TokenPolicy,
        envs,
        n_steps=settings.steps,
        batch_size=settings.batch,
        n_epochs=settings.epochs,
        learning_rate=settings.learning_rate_at,
        gamma=1.0,
        vf_coef=0.1,
        max_grad_norm=1.0,
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
        normalize_advantage=not settings.kl_coef,
        policy_kwargs=dict(
            model=model,
            reference="initial" if settings.kl_coef else None,
            optimizer_kwargs=dict(eps=1e-6),
            **memory_options(settings),
        ),
    )
