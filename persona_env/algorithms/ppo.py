"""Proximal policy optimization: stable-baselines3's own PPO on tokens.

Source: Schulman et al., arXiv 1707.06347; defaults of our own were measured on the embedded world's `dev` split.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from persona_env.algorithms.on_policy import OnPolicy
from persona_env.settings import Setting

__all__ = ["PPO"]


@dataclass(frozen=True, kw_only=True)
class PPO(OnPolicy):
    """PPO.

    >>> PPO(epochs=2).epochs
    2
    """

    name = "ppo"

    batch: Annotated[int, Setting("About how many tokens a minibatch has (trajectories stay whole).", ge=1)] = 1024
    epochs: Annotated[int, Setting("Passes over each rollout.", ge=1)] = 1

    def make(self, model: Any, envs: Any, seed: int) -> Any:
        """Returns stable-baselines3's PPO on the environments."""
        import stable_baselines3 as sb3

        return sb3.PPO(batch_size=self.batch, n_epochs=self.epochs, **self.options(model, envs, seed))
