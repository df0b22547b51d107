"""What a language model is asked on the way to a verdict, and what it answers: closed forms only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

__all__ = ["LABELS", "Answer", "JudgeBackend", "JudgePrompt", "Polarity"]

Polarity: TypeAlias = Literal["against", "for"]
"""What a query asks: whether something speaks against the line, or whether all speaks for it."""

LABELS = ("A", "B")
"""The answers to a query. A says yes to what it asks: bad in one polarity, good in the other, so that a
model which always gives the same answer contradicts itself."""


@dataclass(frozen=True, slots=True)
class JudgePrompt:
    """One thing that a model is asked, as the text of a chat.

    Attributes:
        polarity: What it asks.
        system: The instruction.
        user: What is shown, and what is asked about it.
        items: 0: the answer is one of `LABELS`. Else it is a list of numbers from 1 to `items`: those of the
            earlier lines in conflict (`against`) or compatible (`for`).
    """

    polarity: Polarity
    system: str
    user: str
    items: int = 0

    @property
    def key(self) -> str:
        """The key of the JSON object that answers it."""
        if not self.items:
            return "answer"
        return "conflicts" if self.polarity == "against" else "compatible"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answered: a label, numbers, or nothing that can be read.

    Attributes:
        label: One of `LABELS`, or "".
        probability: That of the label, in [0, 1], where it is known.
        numbers: Different numbers from 1 to `JudgePrompt.items`, or None.
        problem: Why it cannot be read; "" where it can.
        raw: The reply as it came, or what stands for it.
        lost: Whether no reply came, and asking again may bring one; then there is a problem.
    """

    label: str = ""
    probability: float | None = None
    numbers: frozenset[int] | None = None
    problem: str = ""
    raw: str = ""
    lost: bool = False


class JudgeBackend(Protocol):
    """A language model that answers queries."""

    @property
    def lists(self) -> bool:
        """Whether it can answer with a list of numbers; if not, it is asked about one pair at a time."""
        ...

    @property
    def identity(self) -> Mapping[str, Any]:
        """Everything about it that can change an answer, as plain data."""
        ...

    @property
    def usage(self) -> Any:
        """Counts of `calls`, `prompt_tokens`, `completion_tokens` and `retries`."""
        ...

    def ask(self, queries: Sequence[JudgePrompt]) -> list[Answer]:
        """Returns the answers, in order; one batched call for all of them."""
        ...
