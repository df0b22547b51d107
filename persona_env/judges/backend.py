"""The language model inside a judge: what it is asked, and what it answers in closed forms only."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from persona_env.judges.base import ModelUser

__all__ = ["LABELS", "JudgeAnswer", "JudgeBackend", "JudgePrompt"]

LABELS = ("A", "B")
"""The possible answers. A means yes: bad under one polarity, good under the other, so that a model which always gives
the same answer contradicts itself."""


@dataclass(frozen=True, slots=True)
class JudgePrompt:
    """One request to the model: the instruction (`system`), then what is asked about what is shown (`user`).

    The answer is one of `LABELS`, or with `items` a list of numbers from 1 to that: those of the earlier lines in
    conflict (`negative`) or compatible (`positive`).
    """

    polarity: Literal["negative", "positive"]  # does something speak against the line; does everything speak for it
    system: str
    user: str
    items: int = 0

    @property
    def key(self) -> str:
        """The key of the JSON object that answers it."""
        if not self.items:
            return "answer"
        return "conflicts" if self.polarity == "negative" else "compatible"


@dataclass(frozen=True, slots=True)
class JudgeAnswer:
    """What a model answered: a label with its probability in [0, 1] where known, numbers, or why it cannot be read."""

    label: str = ""
    probability: float | None = None
    numbers: frozenset[int] | None = None
    problem: str = ""
    raw: str = ""


class JudgeBackend(ModelUser, ABC):
    """A language model that answers judge prompts."""

    lists: bool = False  # can answer with a list of numbers; if not, it is asked about one pair of lines at a time

    @property
    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """Everything about it that can change an answer, as plain data."""

    @abstractmethod
    def answer(self, prompts: Sequence[JudgePrompt]) -> list[JudgeAnswer]:
        """Returns an answer for each prompt, in order; one batched call for all of them."""
