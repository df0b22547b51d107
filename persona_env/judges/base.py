"""Anything that judges: the four kinds of query, the verdict, and the `Judge` protocol.

Law 1: a reply that cannot be read is `invalid`: never consistent, never rewarded, always counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from persona_env.persona import Persona

__all__ = ["AnswerVsGold", "Judge", "Label", "LineVsHistory", "LineVsPersona", "LineVsPrevious", "Query", "Verdict"]

Label = Literal["consistent", "inconsistent", "invalid"]


@dataclass(frozen=True, slots=True)
class LineVsPersona:
    """Prompt-to-line: does the line contradict the persona, given what was just heard?"""

    persona: Persona
    line: str
    heard: str = ""


@dataclass(frozen=True, slots=True)
class LineVsHistory:
    """Line-to-line: which of the speaker's own earlier lines does the line conflict with?"""

    role: str
    line: str
    earlier: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AnswerVsGold:
    """Query-answer: does the answer agree with the gold answer?"""

    role: str
    question: str
    gold: str
    answer: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LineVsPrevious:
    """Relevance: does the line respond to what was just heard, or openly decline to?"""

    persona: Persona
    heard: str
    line: str


Query: TypeAlias = LineVsPersona | LineVsHistory | AnswerVsGold | LineVsPrevious


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge says to one question.

    Attributes:
        label: `consistent` (good: no contradiction, right answer, relevant), `inconsistent` or `invalid`.
        conflicts: For `LineVsHistory`: indices into `earlier` of the lines in conflict, ascending.
        reason: Why, in words; may be empty.
        probability: The judge's probability of `consistent` in [0, 1], where it gives one.
        raw: The judge's reply as it came.
        lost: Whether it is invalid because no reply came (an outage, a wrong key): to ask again may help, so it is
            kept nowhere. Two verdicts that differ in this alone are equal.
    """

    label: Label
    conflicts: tuple[int, ...] = ()
    reason: str = ""
    probability: float | None = None
    raw: str = ""
    lost: bool = field(default=False, compare=False, repr=False)

    @property
    def value(self) -> float:
        """1.0 for consistent, 0.0 for inconsistent, nan for invalid."""
        return {"consistent": 1.0, "inconsistent": 0.0, "invalid": float("nan")}[self.label]


@runtime_checkable
class Judge(Protocol):
    """Anything that judges.

    A judge that spends its time waiting, for a server above all, may say so by an attribute `waits` that is
    true. The rewards around vector environments then ask it in a thread of their own while the task agent
    replies: one call at a time, as ever, and none once `step` is over. It may have a method `interrupt()`
    beside it, which makes the call of `judge` that goes on in another thread raise soon (and does nothing if
    none goes on); without one, whoever wants to end the step has to wait for the judge. A judge around others
    (`wrapped`, `asker`, `client` or `members`) need have neither: see `judges.waiting`.
    """

    def judge(self, questions: Sequence[Query]) -> list[Verdict]:
        """Returns a verdict for each question, in order; one batched call for all of them."""
        ...
