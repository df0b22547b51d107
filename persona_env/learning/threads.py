"""Torch's threads: how many a run has, and when a second one does not pay."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from stable_baselines3.common.callbacks import BaseCallback

__all__ = ["SMALL", "RolloutThreads", "torch_threads"]

SMALL = 5_000_000
"""Parameters up to which a step of a rollout on the CPU is faster on one thread: sharing out its few rows costs
more than it saves (measured with the embedded model: 1.1 x on two cores)."""


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Runs with so many threads, and puts back what there was; 0 leaves it."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class RolloutThreads(BaseCallback):
    """Collects the rollouts of a small model on one thread; its updates keep all of them."""

    def _on_training_start(self) -> None:
        policy: Any = self.model.policy
        size = sum(parameter.numel() for parameter in policy.parameters())
        self._is_small = policy.device.type == "cpu" and size <= SMALL
        self._threads = torch.get_num_threads()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if self._is_small:
            torch.set_num_threads(1)

    def _on_rollout_end(self) -> None:
        torch.set_num_threads(self._threads)
