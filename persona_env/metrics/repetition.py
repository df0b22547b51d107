"""Repetition, a guard: does a line repeat what the speaker said before?"""

from __future__ import annotations

from dataclasses import dataclass

from persona_env.conversation import Conversation
from persona_env.errors import InputError
from persona_env.judges.base import Verdict
from persona_env.metrics.metric import LineMetric
from persona_env.metrics.words import words

__all__ = ["Repetition", "likeness"]

_NEW = Verdict("consistent", is_asked=False)


def likeness(line: str, other: str) -> float:
    """Returns how alike two lines are: the Jaccard index of their sets of words, in [0, 1]; 1.0 if both have none.

    >>> likeness("I sleep four hours.", "I sleep five hours.")
    0.6
    """
    one, two = frozenset(words(line)), frozenset(words(other))
    return len(one & two) / len(one | two) if one or two else 1.0


@dataclass(frozen=True)
class Repetition(LineMetric):
    """Share of the simulator's lines that do *not* repeat one of its own earlier lines.

    A line repeats another exactly if they have the same words in the same order, and nearly if their `likeness` reaches
    the threshold, in (0, 1] (None: exact ones only). Needs no judge.

    >>> from persona_env.persona import Persona
    >>> ann = Persona("p", "patient", "Ann", "You are Ann.")
    >>> talk = Conversation(ann).with_line("I'm fine.").with_line("I am fine!")
    >>> Repetition()([talk])[0].per_line
    (1.0, 0.0)
    """

    threshold: float | None = 0.8

    name = "repetition"
    title = "repeated lines"
    mark = "repeats itself"
    is_judged = False
    is_penalty = True

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0.0 < self.threshold <= 1.0:
            raise InputError(f"Expected threshold in (0, 1], got {self.threshold}: None counts exact ones only.")

    def query(self, conversation: Conversation, index: int) -> Verdict:
        """Returns `inconsistent`, its conflicts the lines repeated, if line `index` repeats any."""
        *earlier, line = conversation.lines[: index + 1]
        spoken = words(line)
        exact = tuple(k for k, other in enumerate(earlier) if words(other) == spoken)
        if exact:
            return Verdict("inconsistent", exact, "exact", is_asked=False)
        if self.threshold is None:
            return _NEW
        near = tuple(k for k, other in enumerate(earlier) if likeness(line, other) >= self.threshold)
        return Verdict("inconsistent", near, "near", is_asked=False) if near else _NEW
