"""How dialogues are scored: every drift type and every guard, each with its interval over personas."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from persona_env.evaluation.eval_suite import Dialogue
from persona_env.judges.base import Judge
from persona_env.metrics import (
    Copying,
    LineToLine,
    Metric,
    PromptToLine,
    QuestionAnswer,
    Relevance,
    Repetition,
    Score,
    evaluate,
)
from persona_env.metrics.statistics import Interval, clustered_mean, clustered_share, reduction
from persona_env.world.style_stats import hedging, line_words, volunteering

__all__ = ["DRIFT_TYPES", "GUARDS", "Estimate", "Scores", "reductions", "score"]

DRIFT_TYPES = ("prompt_to_line", "line_to_line", "question_answer")
"""What a run is about; `1 - value` of each is an inconsistency."""

STYLE_STATS = {"hedging": hedging, "volunteering": volunteering, "line_words": line_words}
"""How the simulator talks; read against the zero-drift speaker of the same grammar."""

GUARDS = ("relevance", "copying", "repetition")
"""What must stay good meanwhile; each in [0, 1], 1 is good."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval over personas.

    Attributes:
        value: The mean over personas; None if nothing could be judged.
        low: Lower end; None where there are too few personas.
        high: Upper end; likewise.
        n: Lines (or answers) that were judged.
        invalid: Lines (or answers) on which the judge's reply could not be read.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    invalid: int

    @classmethod
    def of(cls, interval: Interval, n: int, invalid: int) -> Estimate:
        """Returns the estimate of an interval; what is not known becomes None."""
        value, low, high = (None if math.isnan(x) else x for x in (interval.mean, interval.low, interval.high))
        return cls(value, low, high, n, invalid)

    def as_json(self) -> dict[str, Any]:
        """Returns it as plain data."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of a set of dialogues.

    Attributes:
        personas: Whose each dialogue is.
        dialogues: For each metric and guard, one score per dialogue.
        talk: For each habit of talking (hedging, volunteering, length), one value per dialogue; nan
            where a dialogue gave no occasion.
    """

    personas: tuple[str, ...]
    dialogues: Mapping[str, Sequence[Score]]
    talk: Mapping[str, Sequence[float]]

    def estimate(self, name: str) -> Estimate:
        """Returns a metric, guard or habit with its interval."""
        if name in self.talk:
            values = list(self.talk[name])
            over_personas = clustered_share if name == "hedging" else clustered_mean
            return Estimate.of(over_personas(values, self.personas), len(values), 0)
        scores = self.dialogues[name]
        interval = clustered_share([score.value for score in scores], self.personas)
        return Estimate.of(interval, sum(s.n for s in scores), sum(s.invalid for s in scores))

    @property
    def invalid(self) -> int:
        """Verdicts that could not be read, over all metrics."""
        return sum(score.invalid for scores in self.dialogues.values() for score in scores)

    @property
    def judged(self) -> int:
        """All verdicts, read or not, over all metrics."""
        return sum(len(score.per_line) for scores in self.dialogues.values() for score in scores)

    @property
    def estimates(self) -> dict[str, Estimate]:
        """All of them by name."""
        return {name: self.estimate(name) for name in (*self.dialogues, *self.talk)}

    def as_json(self) -> dict[str, Any]:
        """Returns all estimates as plain data."""
        return {name: estimate.as_json() for name, estimate in self.estimates.items()}

    def by_line(self, name: str) -> list[float]:
        """Returns the mean of a metric at each line index, in order; nan where nothing was judged."""
        rows = [score.per_line for score in self.dialogues[name]]
        columns = [[row[i] for row in rows if i < len(row)] for i in range(max(map(len, rows), default=0))]
        return [Score.of(column).value for column in columns]


def score(played: Sequence[Dialogue], judge: Judge) -> Scores:
    """Returns the scores of dialogues that were played; two judge calls for all of them."""
    conversations = [dialogue.conversation for dialogue in played]
    metrics: list[Metric] = [PromptToLine(), LineToLine(), Relevance(), Copying(), Repetition()]
    found: dict[str, Sequence[Score]] = dict(evaluate(conversations, metrics, judge))
    found["question_answer"] = QuestionAnswer().scores([d.answers for d in played], judge)
    order = (*DRIFT_TYPES, *GUARDS)
    talk = {name: [habit([talk]) for talk in conversations] for name, habit in STYLE_STATS.items()}
    people = tuple(conversation.persona.id for conversation in conversations)
    return Scores(people, {name: found[name] for name in order}, talk)


def reductions(before: Scores, after: Scores) -> dict[str, Interval]:
    """Returns (before - after) / before of each drift type's inconsistency, and of their mean as `overall`."""
    table = {
        name: reduction(
            _inconsistency(before, name),
            _inconsistency(after, name),
            before.personas,
            after.personas,
        )
        for name in DRIFT_TYPES
    }
    table["overall"] = reduction(_overall(before), _overall(after), before.personas, after.personas)
    return table


def _overall(scores: Scores) -> list[float]:
    """The mean over drift types of each dialogue's inconsistency."""
    columns = zip(*(_inconsistency(scores, name) for name in DRIFT_TYPES), strict=True)
    return [sum(values) / len(values) for values in columns]


def _inconsistency(scores: Scores, name: str) -> list[float]:
    return [1.0 - score.value for score in scores.dialogues[name]]
