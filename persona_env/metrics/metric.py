"""What a metric is: from conversations to judge queries, from verdicts to scores in [0, 1]."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, TypeAlias

from persona_env.conversation import Conversation
from persona_env.errors import InputError
from persona_env.judges.base import JudgeLike, Query, Verdict, VerdictCounts

__all__ = [
    "LineMetric",
    "Metric",
    "QueryOrVerdict",
    "Score",
    "distinct_queries",
    "evaluate",
    "verdicts_on",
    "with_verdicts",
]

QueryOrVerdict: TypeAlias = Query | Verdict
"""What a metric has to ask about a line: a query for the judge, or a verdict that the text alone settles."""


@dataclass(frozen=True, slots=True)
class Score:
    """One metric of one conversation.

    >>> Score.of([Verdict("consistent"), Verdict("inconsistent"), Verdict("invalid"), Verdict("consistent")])
    Score(value=0.6666666666666666, per_line=(1.0, 0.0, nan, 1.0), n=3, invalid=1, undecided=0, asked=4)
    """

    value: float  # mean of the verdicts that decide, in [0, 1], 1 is good; nan if there is none
    per_line: tuple[float, ...]  # 1.0, 0.0 or nan for each query, in order
    n: int  # verdicts that decide
    invalid: int  # those that could not be read
    undecided: int = 0  # those that contradict themselves
    asked: int = 0  # those of all that a judge was asked for

    @classmethod
    def of(cls, verdicts: Sequence[Verdict], **more: Any) -> Self:
        """Returns the score of these verdicts, their mean; `more` are the fields of a subclass."""
        values, counts = [verdict.value for verdict in verdicts], VerdictCounts.of(verdicts)
        known = [value for value in values if not math.isnan(value)]
        mean = math.fsum(known) / len(known) if known else math.nan
        return cls(mean, tuple(values), counts.judged, counts.invalid, counts.undecided, counts.asked, **more)

    @property
    def inconsistency(self) -> float:
        """1 - value: the share of the verdicts that decide which are bad."""
        return 1.0 - self.value

    @property
    def counts(self) -> VerdictCounts:
        """How many verdicts there are of each sort."""
        return VerdictCounts(self.n, self.undecided, self.invalid, self.asked)


class Metric(ABC):
    """A pure function of conversations and a judge; tables, transcripts and rewards read its class attributes."""

    name: ClassVar[str]  # as in `info["consistency/<name>"]`, in logs and in reports
    title: ClassVar[str]  # what a table calls the share that it shows
    mark: ClassVar[str] = ""  # what a transcript writes behind a bad line
    group: ClassVar[Literal["drift", "guard"]] = "guard"  # what training reduces, or what must stay good meanwhile
    shows: ClassVar[Literal["good", "bad"]] = "bad"  # whose share tables show; scores are always 1 = good
    unit: ClassVar[Literal["lines", "answers"]] = "lines"  # what it has a verdict for each of
    is_judged: ClassVar[bool] = True  # otherwise the text settles every line
    is_penalty: ClassVar[bool] = False  # its reward punishes bad lines instead of rewarding good ones

    @abstractmethod
    def queries(self, conversations: Sequence[Conversation]) -> list[tuple[QueryOrVerdict, ...]]:
        """Returns what there is to judge in each conversation, in the order of `per_line`."""

    def score(self, conversation: Conversation, verdicts: Sequence[Verdict]) -> Score:
        """Returns the score of a conversation from the verdicts on its queries: their mean."""
        return Score.of(verdicts)

    def __call__(self, conversations: Sequence[Conversation], judge: JudgeLike | None = None) -> list[Score]:
        """Returns a score for each conversation; asks the judge once, for all of them."""
        return evaluate(conversations, [self], judge)[self.name]

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class LineMetric(Metric):
    """A metric with one query for each of the simulator's lines."""

    @abstractmethod
    def query(self, conversation: Conversation, index: int) -> QueryOrVerdict:
        """Returns what there is to judge in the simulator's line `index`."""

    def queries(self, conversations: Sequence[Conversation]) -> list[tuple[QueryOrVerdict, ...]]:
        """Returns for each conversation one query per line of the simulator."""
        return [tuple(self.query(talk, index) for index in range(len(talk.lines))) for talk in conversations]


def distinct_queries(items: Sequence[QueryOrVerdict]) -> list[Query]:
    """Returns the queries among these, each once."""
    return list(dict.fromkeys(item for item in items if not isinstance(item, Verdict)))


def with_verdicts(items: Sequence[QueryOrVerdict], verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Returns a verdict for each item, from the verdicts on their distinct queries."""
    distinct = distinct_queries(items)
    if len(verdicts) != len(distinct):
        raise InputError(
            f"Expected {len(distinct)} verdicts, got {len(verdicts)}: a judge answers each query, in order."
        )
    answers = dict(zip(distinct, verdicts, strict=True))
    return [item if isinstance(item, Verdict) else answers[item] for item in items]


def verdicts_on(items: Sequence[QueryOrVerdict], judge: JudgeLike | None) -> list[Verdict]:
    """Returns a verdict for each item: one judge call, in which each distinct query stands once."""
    distinct = distinct_queries(items)
    if distinct and judge is None:
        raise InputError(f"Expected a judge of {len(distinct)} queries, got None: give one.")
    return with_verdicts(items, judge.judge(distinct) if distinct and judge is not None else [])


def evaluate(
    conversations: Sequence[Conversation], metrics: Sequence[Metric], judge: JudgeLike | None = None
) -> dict[str, list[Score]]:
    """Returns the scores of many conversations by metric name: one judge call for everything.

    The judge may be left out where the text settles every line (copying, repetition).
    """
    names = [metric.name for metric in metrics]
    if len(set(names)) != len(names):
        raise InputError(f"Expected metrics with distinct names, got {', '.join(names)}: score them apart.")
    table = [metric.queries(conversations) for metric in metrics]
    verdicts = iter(verdicts_on([query for column in table for queries in column for query in queries], judge))
    return {
        metric.name: [
            metric.score(conversation, [next(verdicts) for _ in queries])
            for conversation, queries in zip(conversations, column, strict=True)
        ]
        for metric, column in zip(metrics, table, strict=True)
    }
