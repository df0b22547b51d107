"""Contexts as stable-baselines3 gets them, with facts for the rollout buffer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["StepInfo", "TokenObservation"]


@dataclass(eq=False)
class StepInfo:
    """What a rollout buffer must know of the step that is taken at an observation."""

    probing: NDArray[np.bool_] | None = None  # (N,) the coming tokens answer a probe; None: it is not known
    cut_off: dict[int, NDArray[np.int32]] = field(default_factory=dict)  # last contexts of truncated dialogues, by row
    line_ended: set[int] = field(default_factory=set)  # those of them whose last line (or answer) was complete
    was_left: bool = False  # the environment was reset here, and no step taken
    next_contexts: NDArray[np.int32] | None = None  # (N, context) after the step; None before it is taken
    next_probing: NDArray[np.bool_] | None = None  # (N,) `probing` after the step


class TokenObservation(np.ndarray):
    """Contexts (N, context) int32, with a `StepInfo`.

    stable-baselines3 hands an environment's very object to its buffer, so the environment can tell the buffer more
    than the contexts. A copy shares the info of its original, also what is added later: some wrappers, such as
    `VecNormalize`, hand on copies. A part or a sum has an empty one.

    >>> contexts = np.zeros((2, 4), np.int32).view(TokenObservation)
    >>> contexts.info.probing = np.array([False, True])
    >>> contexts.copy().info.probing, contexts[0].info.probing
    (array([False,  True]), None)
    """

    info: StepInfo

    def __array_finalize__(self, source: Any) -> None:
        self.info = StepInfo()

    def copy(self, order: Any = "C") -> TokenObservation:
        """Returns a copy that shares the info."""
        copied = super().copy(order)
        copied.info = self.info
        return copied

    def __copy__(self) -> TokenObservation:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any] | None) -> TokenObservation:
        return self.copy()
