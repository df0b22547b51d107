"""Advantage actor-critic: stable-baselines3's own A2C on tokens.

Source: Mnih et al., arXiv 1602.01783. One gradient step per rollout, so it needs more tokens than PPO.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from persona_env.algorithms.on_policy import OnPolicy

__all__ = ["A2C"]


@dataclass(frozen=True, kw_only=True)
class A2C(OnPolicy):
    """A2C, with Adam instead of RMSprop.

    >>> A2C(steps=64).steps
    64
    """

    name = "a2c"

    def make(self, model: Any, envs: Any, seed: int) -> Any:
        """Returns stable-baselines3's A2C on the environments."""
        import stable_baselines3 as sb3
        from torch.optim import Adam

        options = self.options(model, envs, seed)
        options["policy_kwargs"]["optimizer_class"] = Adam
        return sb3.A2C(**options)
