"""What a learning algorithm is, what a run offers it, and what a checkpoint asks of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from persona_env.settings import check

if TYPE_CHECKING:
    from torch import Tensor

    from persona_env.speakers.local import LanguageModel

__all__ = ["Algorithm", "Learner", "Run"]


class Learner(ABC):
    """The state of a training that a run can write to a checkpoint and go on from, bit for bit."""

    @property
    @abstractmethod
    def tokens(self) -> int:
        """Tokens that the simulator has sampled for training so far."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Returns all of the state but tensors and random generators: plain data and frozen records; cheap."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Returns the tensors of the state (weights, optimizer) by name."""

    @abstractmethod
    def load(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Goes back to a state; that of another model is an `InputError`."""

    @abstractmethod
    def save_pretrained(self, folder: Path) -> None:
        """Saves the model as it is now, as `hf:<folder>` loads it."""


class Run:
    """What a run offers an algorithm; this one keeps nothing. An algorithm may round `tokens` up to a whole batch."""

    def __init__(self, tokens: int, seed: int = 0):
        self.wanted, self.seed = tokens, seed

    def resume(self, learner: Learner) -> bool:
        """Goes back to the last checkpoint and returns whether there is one. Call it once, before the first step."""
        return False

    def enter_boundary(self, learner: Learner) -> None:
        """Call it where the learner's state is whole; the run may write a checkpoint now or until `leave_boundary`."""

    def leave_boundary(self) -> None:
        """Call it before the tensors change again."""

    def finish(self, learner: Learner) -> None:
        """Call it after the last update: writes the last checkpoint."""

    def log(self, record: Mapping[str, Any]) -> None:
        """Call it after each batch of experience with plain data: `tokens` so far, and counts of its verdicts.

        These are `judged` (that decide), `undecided`, `invalid`, and of all these `asked` of a judge (all if left out).
        A RunEnded comes out of it if the run must stop, for example because too many are invalid.
        """


@dataclass(frozen=True, kw_only=True)
class Algorithm(ABC):
    """A learning algorithm: a frozen record of its hyperparameters, and `fit`.

    Each hyperparameter is a field annotated with a `Setting`; it becomes an option of `persona-env train` (of
    ours) or of the spec: `--algorithm "mine?learning_rate=1e-4"`. Checkpoints are optional: an algorithm that never
    calls `run.resume` begins anew when its run is resumed. `name` is that under which it is registered.
    """

    name: ClassVar[str]

    def __post_init__(self) -> None:
        check(self)

    @property
    def trains_adapters(self) -> bool:
        """Whether the model's own weights stay as they are, so that they may be loaded in 4 bits."""
        return False

    @abstractmethod
    def fit(self, model: LanguageModel, data: Any, run: Run) -> LanguageModel:
        """Trains a model, which may be changed in place, on the vectorised token environment `data`; returns it."""
