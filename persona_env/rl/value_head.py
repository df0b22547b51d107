"""The critic: a small network on the language model's last hidden state."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["ValueHead"]


class ValueHead(nn.Module):
    """Estimates the return from the last hidden state.

    stable-baselines3 has one learning rate for all parameters. One that suits the language model is too small for a
    critic, which must first find the mean return. So the mean is not learned: `follow` shifts `level` to it after
    each rollout, and the learned part, which begins at 0, is multiplied by `scale`.

    With `gradient` the critic's error also trains the language model.

    >>> head = ValueHead(8)
    >>> head.follow(1.5)
    >>> head(torch.ones(3, 8)).tolist()
    [[1.5], [1.5], [1.5]]
    """

    level: Tensor

    def __init__(self, hidden: int, width: int = 64, scale: float = 8.0, gradient: bool = False):
        super().__init__()
        self.scale, self.gradient = scale, gradient
        self.inner, self.outer = nn.Linear(hidden, width), nn.Linear(width, 1)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)
        self.register_buffer("level", torch.zeros(()))

    def forward(self, hidden: Tensor) -> Tensor:
        """Returns values (A, 1) in float32 for hidden states (A, d)."""
        hidden = hidden if self.gradient else hidden.detach()
        return self.outer(torch.tanh(self.inner(hidden.float()))) * self.scale + self.level

    def follow(self, error: float) -> None:
        """Moves the level by a rollout's mean error, return minus estimate."""
        self.level += error
