"""What one drift type is paid for: the core that the three forms of a reward wrapper share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from persona_env.conversation import Conversation, ProbeQuestion
from persona_env.judges import Verdict
from persona_env.metrics import Finding, LineMetric, QuestionAnswer, answer_question

__all__ = ["AnswerTerm", "Event", "GivenAnswer", "LineTerm", "SaidLine", "Term", "event_in"]


@dataclass(frozen=True, slots=True)
class SaidLine:
    """The simulator completed line `index` of a dialogue."""

    conversation: Conversation
    index: int


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """The simulator completed the answer to a question."""

    question: ProbeQuestion
    text: str


Event: TypeAlias = SaidLine | GivenAnswer


def event_in(info: Mapping[str, Any]) -> Event | None:
    """Returns what one step completed, as its info tells it; None if nothing."""
    if "answer" in info:
        return GivenAnswer(info["question"], info["answer"])
    if "line" in info:
        return SaidLine(info["conversation"], info["line_index"])
    return None


class Term(ABC):
    """One drift type, its weight, and how many verdicts it has had.

    Attributes:
        name: As in `info["consistency/<name>"]`.
        weight: What a good line or answer is worth; of a penalty, what a bad one costs.
        penalty: Whether bad is punished (0 or -weight) rather than good paid (weight or 0).
        judged: How many readable verdicts it has had.
        invalid: How many unreadable ones; they are never paid.
    """

    def __init__(self, name: str, weight: float, *, penalty: bool = False):
        if not (math.isfinite(weight) and weight >= 0.0):
            remedy = "a penalty has its sign already" if math.isfinite(weight) else "give a finite number"
            raise ValueError(f"Expected weight >= 0 for {name}, got {weight}: {remedy}.")
        self.name, self.weight, self.penalty = name, float(weight), penalty
        self.judged = self.invalid = 0

    @abstractmethod
    def finding(self, event: Event) -> Finding | None:
        """Returns what to judge about an event, or None if this drift type has no part in it."""

    def pay(self, verdict: Verdict) -> float:
        """Counts a verdict and returns its reward: in [0, weight], or [-weight, 0] of a penalty."""
        value = verdict.value
        if math.isnan(value):
            self.invalid += 1
            return 0.0
        self.judged += 1
        return self.weight * (value - 1.0 if self.penalty else value)


class LineTerm(Term):
    """Pays for each completed line what a metric of lines finds in it."""

    def __init__(self, metric: LineMetric, weight: float, *, penalty: bool = False):
        super().__init__(metric.name, weight, penalty=penalty)
        self.metric = metric

    def finding(self, event: Event) -> Finding | None:
        """Returns what the metric finds in a completed line."""
        if isinstance(event, GivenAnswer):
            return None
        return self.metric.finding(event.conversation, event.index)


class AnswerTerm(Term):
    """Asks questions on branches of the dialogue, and pays for the answers to its own.

    Attributes:
        place: Its place in the chain of interviewers, which its questions carry.
    """

    def __init__(self, metric: QuestionAnswer, weight: float):
        super().__init__(metric.name, weight)
        self.metric, self.place = metric, 0

    def ask(self, conversations: Sequence[Conversation]) -> list[ProbeQuestion | None]:
        """Returns for each dialogue the question to ask now, or None: environments call this."""
        return self.metric.ask(conversations, self.place)

    def finding(self, event: Event) -> Finding | None:
        """Returns what to ask the judge about the answer to a question of this term."""
        if isinstance(event, SaidLine) or event.question.asker != self.place:
            return None
        return answer_question(event.question, event.text)
