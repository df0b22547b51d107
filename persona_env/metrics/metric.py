"""What a metric is: from conversations to questions, from verdicts to scores in [0, 1]."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from persona_env.conversation import Conversation
from persona_env.errors import InputError
from persona_env.judges.base import Judge, Query, Verdict
from persona_env.judges.content_filter import rejection_reason

__all__ = ["Finding", "LineMetric", "Metric", "Score", "evaluate", "pooled", "unless_empty", "verdicts_on"]

Finding: TypeAlias = Query | Verdict
"""What a metric finds: a question for the judge, or a verdict that the text alone settles."""


@dataclass(frozen=True, slots=True)
class Score:
    """One metric of one conversation.

    Attributes:
        value: Mean of the readable verdicts, in [0, 1], 1 is good; nan if there is none.
        per_line: 1.0, 0.0 or nan (invalid) for each thing judged, in order.
        n: How many verdicts could be read; `n + invalid == len(per_line)`.
        invalid: How many could not.

    >>> Score.of((1.0, 0.0, float("nan"), 1.0))
    Score(value=0.6666666666666666, per_line=(1.0, 0.0, nan, 1.0), n=3, invalid=1)
    """

    value: float
    per_line: tuple[float, ...]
    n: int
    invalid: int

    @classmethod
    def of(cls, per_line: Sequence[float]) -> Score:
        """Returns the score of these values, each 1.0, 0.0 or nan."""
        return cls(*_summary(per_line))

    @property
    def inconsistency(self) -> float:
        """1 - value: the share of the readable verdicts that are bad."""
        return 1.0 - self.value


def _summary(per_line: Sequence[float]) -> tuple[float, tuple[float, ...], int, int]:
    readable = [value for value in per_line if not math.isnan(value)]
    mean = math.fsum(readable) / len(readable) if readable else math.nan
    return mean, tuple(per_line), len(readable), len(per_line) - len(readable)


def pooled(scores: Sequence[Score]) -> Score:
    """Returns the score of all the lines of several conversations, each line with the same weight.

    >>> pooled([Score.of((1.0, 1.0)), Score.of((0.0, float("nan")))]).value
    0.6666666666666666
    """
    return Score.of([value for score in scores for value in score.per_line])


def unless_empty(question: Query, verdict: Verdict) -> Verdict:
    """Returns a verdict that holds of every line to which this question would be put, but for one without content.

    >>> from persona_env.judges import LineVsHistory
    >>> unless_empty(LineVsHistory("patient", "...", ()), Verdict("consistent")).label
    'inconsistent'
    """
    reason = rejection_reason(question)
    return Verdict("inconsistent", reason=reason) if reason else verdict


@runtime_checkable
class Metric(Protocol):
    """A pure function of conversations and a judge.

    Attributes:
        name: As in `info["consistency/<name>"]`, in logs and in reports.
        unasked: The value of a line at which `question` finds nothing to judge.
    """

    name: str
    unasked: float

    def question(self, conversation: Conversation, index: int) -> Query | None:
        """Returns what to ask the judge about the simulator's line `index`, or None."""
        ...

    def findings(self, conversations: Sequence[Conversation]) -> list[tuple[Finding, ...]]:
        """Returns what there is to judge in each conversation, in the order of `per_line`."""
        ...

    def score(self, conversation: Conversation, verdicts: Sequence[Verdict]) -> Score:
        """Returns the score of a conversation from the verdicts on its findings."""
        ...

    def __call__(self, conversations: Sequence[Conversation], judge: Judge | None = None) -> list[Score]:
        """Returns a score for each conversation; asks the judge once, for all of them."""
        ...


class LineMetric(ABC):
    """A metric with one finding for each of the simulator's lines."""

    name: str
    unasked: float = 1.0

    def question(self, conversation: Conversation, index: int) -> Query | None:
        """Returns what to ask the judge about the simulator's line `index`, or None."""
        finding = self.finding(conversation, index)
        return None if isinstance(finding, Verdict) else finding

    @abstractmethod
    def finding(self, conversation: Conversation, index: int) -> Finding:
        """Returns what there is to judge in the simulator's line `index`."""

    def findings(self, conversations: Sequence[Conversation]) -> list[tuple[Finding, ...]]:
        """Returns for each conversation one finding per line of the simulator."""
        return [
            tuple(self.finding(conversation, index) for index in range(len(conversation.lines)))
            for conversation in conversations
        ]

    def score(self, conversation: Conversation, verdicts: Sequence[Verdict]) -> Score:
        """Returns the mean over lines."""
        return Score.of([verdict.value for verdict in verdicts])

    def __call__(self, conversations: Sequence[Conversation], judge: Judge | None = None) -> list[Score]:
        """Returns a score for each conversation; asks the judge once, for all of them."""
        return evaluate(conversations, [self], judge)[self.name]

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def verdicts_on(findings: Sequence[Finding], judge: Judge | None) -> list[Verdict]:
    """Returns a verdict for each finding: one judge call, each distinct question asked once.

    Raises:
        ValueError: If there are questions and no judge, or if the judge answers another number of
            them.
    """
    questions = list(dict.fromkeys(f for f in findings if not isinstance(f, Verdict)))
    if not questions:
        return [f for f in findings if isinstance(f, Verdict)]
    if judge is None:
        raise InputError(f"Expected a judge of {len(questions)} questions, got None: give one.")
    verdicts = judge.judge(questions)
    if len(verdicts) != len(questions):
        raise InputError(
            f"Expected {len(questions)} verdicts, got {len(verdicts)}: a judge answers each question, in order."
        )
    answers = dict(zip(questions, verdicts, strict=True))
    return [f if isinstance(f, Verdict) else answers[f] for f in findings]


def evaluate(
    conversations: Sequence[Conversation], metrics: Sequence[Metric], judge: Judge | None = None
) -> dict[str, list[Score]]:
    """Returns the scores of many conversations by metric name: one judge call for everything.

    Args:
        conversations: What to score.
        metrics: With distinct names.
        judge: May be left out where the text settles every finding (copying, repetition).

    Raises:
        ValueError: If two metrics have the same name, or the judge is missing or miscounts.
    """
    names = [metric.name for metric in metrics]
    if len(set(names)) != len(names):
        raise InputError(f"Expected metrics with distinct names, got {', '.join(names)}: score them apart.")
    table = [metric.findings(conversations) for metric in metrics]
    verdicts = iter(verdicts_on([f for rows in table for row in rows for f in row], judge))
    scores: Mapping[str, list[Score]] = {
        metric.name: [
            metric.score(conversation, [next(verdicts) for _ in row])
            for conversation, row in zip(conversations, rows, strict=True)
        ]
        for metric, rows in zip(metrics, table, strict=True)
    }
    return dict(scores)
