"""The critic: a small network on the language model's last hidden state."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["ValueHead"]


class ValueHead(nn.Module):
    """Estimates what is still to come from the last hidden state.

    The estimate begins at 0. It is multiplied by `scale`, so that it follows the returns although the
    optimiser takes the small steps that suit the language model (stable-baselines3 has one rate for all).

    Args:
        hidden: Width of the language model's hidden states, d.
        width: Width of the one layer between.
        scale: What the output is multiplied by.
        gradient: Whether the critic's error also trains the language model.

    >>> ValueHead(8)(torch.ones(3, 8)).tolist()
    [[0.0], [0.0], [0.0]]
    """

    def __init__(self, hidden: int, width: int = 64, scale: float = 8.0, gradient: bool = False):
        super().__init__()
        self.scale, self.gradient = scale, gradient
        self.inner, self.outer = nn.Linear(hidden, width), nn.Linear(width, 1)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """Returns values (A, 1) in float32 for hidden states (A, d)."""
        hidden = hidden if self.gradient else hidden.detach()
        return self.outer(torch.tanh(self.inner(hidden.float()))) * self.scale
