"""Verdicts on dialogues, and the figures that are computed from them: pure functions of the evaluation log."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import harmonic_mean
from typing import Any

from persona_env.evaluation.eval_log import Arm, EvalLog, MetricInfo, Sample, metric_infos
from persona_env.evaluation.eval_suite import EvalSuite
from persona_env.evaluation.rollout import play
from persona_env.judges.base import JudgeLike, VerdictCounts
from persona_env.metrics import AnswerMetric, Metric, Score, load_metric, verdicts_on
from persona_env.metrics.metric import QueryOrVerdict
from persona_env.metrics.statistics import Interval, clustered_mean, clustered_share, reduction, within
from persona_env.speakers import Speaker
from persona_env.world.persona_space import are_readable
from persona_env.world.style_stats import hedging, line_words, volunteering

__all__ = ["Estimate", "Scores", "all_scores", "generalisation_gap", "judge_samples", "reductions", "run_arm", "scores"]


def run_arm(
    simulator: Speaker,
    suite: EvalSuite,
    judge: JudgeLike,
    *,
    name: str = "",
    spec: str = "",
    tick: Callable[[int], None] = lambda lines: None,
    task_agent: Speaker | None = None,
) -> Arm:
    """Plays a suite with a simulator and judges it: `scores(run_arm(...))` are its figures; for the rest see `play`."""
    samples = judge_samples(play(simulator, suite, tick=tick, task_agent=task_agent), judge, suite.metrics)
    return Arm(name=name, simulator=spec, suite=suite, samples=samples)


def judge_samples(samples: Sequence[Sample], judge: JudgeLike, metrics: Sequence[str | Metric]) -> tuple[Sample, ...]:
    """Returns the samples with the verdicts of all metrics; one judge call for all of them."""
    made = [load_metric(metric) for metric in metrics]
    table = {metric.name: _queries(metric, samples) for metric in made}
    verdicts = iter(verdicts_on([query for rows in table.values() for row in rows for query in row], judge))
    found = {name: [tuple(next(verdicts) for _ in row) for row in rows] for name, rows in table.items()}
    return tuple(
        replace(sample, verdicts={name: rows[place] for name, rows in found.items()})
        for place, sample in enumerate(samples)
    )


def _queries(metric: Metric, samples: Sequence[Sample]) -> list[tuple[QueryOrVerdict, ...]]:
    if isinstance(metric, AnswerMetric):
        return metric.queries_on([sample.answers for sample in samples])
    return metric.queries([sample.conversation for sample in samples])


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure (of a metric: 1 = good) with its 95 % interval over personas; None where too little could be judged.

    It rests on `n` lines (or answers); on `invalid` more the judge's reply could not be read, on `undecided` ones it
    contradicted itself.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int = 0
    invalid: int = 0
    undecided: int = 0

    @classmethod
    def of(cls, interval: Interval, n: int = 0, invalid: int = 0, undecided: int = 0) -> Estimate:
        """Returns the estimate of an interval; what is not known becomes None."""
        value, low, high = (None if math.isnan(x) else x for x in (interval.mean, interval.low, interval.high))
        return cls(value, low, high, n, invalid, undecided)

    @property
    def interval(self) -> dict[str, float | None]:
        """The figure and its interval alone, as plain data."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of an arm, one per dialogue: of each metric and style statistic, and what became of its lines.

    `lines` holds for each dialogue how many of how many: `lines_said` of those that the suite asks for, and of these
    what was `lines_cut` (where the simulator went on as the other side) or `lines_filtered` (withheld by a content
    filter), and the same of the task agent's `replies` and of the `answers` to probes.
    """

    personas: tuple[str, ...]  # the id of each dialogue's
    metrics: Mapping[str, Sequence[Score]]
    style: Mapping[str, Sequence[float]]  # nan where a dialogue gave no occasion
    drift: tuple[str, ...]  # the metrics that are drift types; 1 - value of each is an inconsistency
    lines: Mapping[str, Sequence[tuple[int, int]]] = field(default_factory=dict[str, Sequence[tuple[int, int]]])

    def __contains__(self, name: str) -> bool:
        return name in self.metrics or name in self.style or name in self.lines

    def estimate(self, name: str) -> Estimate:
        """Returns a metric, a style statistic or a share of lines with its interval."""
        if name in self.lines:
            rows, (_, total) = self.lines[name], self.total(name)
            shares = [part / whole if whole else math.nan for part, whole in rows]
            return Estimate.of(clustered_share(shares, self.personas, [whole for _, whole in rows]), total)
        if name in self.style:
            interval = clustered_mean(self.style[name], self.personas)
            if name == "hedging":
                interval = within(interval)
            elif interval.low < 0:  # no style statistic is negative
                interval = replace(interval, low=0.0)
            return Estimate.of(interval, len(self.style[name]))
        rows = self.metrics[name]
        interval = clustered_share([score.value for score in rows], self.personas, [score.n for score in rows])
        counts = sum((score.counts for score in rows), VerdictCounts())
        return Estimate.of(interval, counts.judged, counts.invalid, counts.undecided)

    def total(self, name: str) -> tuple[int, int]:
        """Returns how many of how many lines, over all dialogues."""
        parts, wholes = zip(*self.lines.get(name, [(0, 0)]), strict=True)
        return sum(parts), sum(wholes)

    @property
    def counts(self) -> VerdictCounts:
        """How many verdicts there are of each sort, over all metrics."""
        return sum((score.counts for rows in self.metrics.values() for score in rows), VerdictCounts())

    @property
    def estimates(self) -> dict[str, Estimate]:
        """All of them by name."""
        return {name: self.estimate(name) for name in (*self.metrics, *self.style, *self.lines)}

    def as_json(self) -> dict[str, Any]:
        """Returns all estimates as plain data."""
        return {name: asdict(estimate) for name, estimate in self.estimates.items()}

    def inconsistency(self, name: str) -> list[float]:
        """Returns 1 - value of each dialogue: of a drift type, or of the mean of them all (`overall`)."""
        if name != "overall":
            return [1.0 - score.value for score in self.metrics[name]]
        columns = zip(*(self.inconsistency(one) for one in self.drift), strict=True)
        return [sum(values) / len(values) for values in columns]

    def n(self, name: str) -> list[float]:
        """Returns on how many verdicts each dialogue's `inconsistency` rests, `overall` on their harmonic mean."""
        if name != "overall":
            return [score.n for score in self.metrics[name]]
        return [harmonic_mean(counts) for counts in zip(*map(self.n, self.drift), strict=True)]


def scores(arm: Arm, metrics: Sequence[MetricInfo] = ()) -> Scores:
    """Returns the scores of an arm; `metrics` stand in its log's header, those of its suite where not given.

    A metric that had nothing to judge is left out: question-answer, where no persona has questions, or line-to-line,
    where all dialogues have one line.
    """
    samples, metrics = arm.samples, metrics or metric_infos(arm.suite)
    metrics = [m for m in metrics if any(v.applies for sample in samples for v in sample.verdicts[m.name])]
    return Scores(
        tuple(sample.conversation.persona.id for sample in samples),
        {m.name: [Score.of(sample.verdicts[m.name]) for sample in samples] for m in metrics},
        _style(arm),
        tuple(m.name for m in metrics if m.group == "drift"),
        _lines(arm),
    )


def _lines(arm: Arm) -> dict[str, list[tuple[int, int]]]:
    """What became of the lines: how many were said, and where there are any, those that were cut or filtered."""
    talks = [sample.conversation for sample in arm.samples]
    notes = {
        "lines": [[message.note for message in talk.messages if message.side == "simulator"] for talk in talks],
        "replies": [[message.note for message in talk.messages if message.side == "task"] for talk in talks],
        "answers": [[answer.note for answer in sample.answers] for sample in arm.samples],
    }
    found = {"lines_said": [(len(talk.lines), arm.suite.lines) for talk in talks]}
    for name, rows in notes.items():
        found |= {f"{name}_{note}": [(row.count(note), len(row)) for row in rows] for note in ("cut", "filtered")}
    return {name: rows for name, rows in found.items() if name == "lines_said" or any(part for part, _ in rows)}


def _style(arm: Arm) -> dict[str, list[float]]:
    """How the simulator talks; hedging and volunteering can be read in the embedded world's grammar only."""
    in_world = are_readable([sample.conversation.persona for sample in arm.samples])
    stats = {"hedging": hedging, "volunteering": volunteering} if in_world else {}
    return {
        name: [stat([sample.conversation]) for sample in arm.samples]
        for name, stat in (stats | {"line_words": line_words}).items()
    }


def reductions(before: Scores, after: Scores) -> dict[str, Interval]:
    """Returns (before - after) / before of each drift type's inconsistency, and of their mean as `overall`.

    A drift type of which one of them has nothing to judge is left out.
    """
    drift = tuple(name for name in before.drift if name in after)
    b, a = replace(before, drift=drift), replace(after, drift=drift)
    return {
        name: reduction(b.inconsistency(name), a.inconsistency(name), b.personas, a.personas, b.n(name), a.n(name))
        for name in (*drift, *(["overall"] if drift else []))
    }


def generalisation_gap(heldout: Scores, training: Scores) -> dict[str, float | None]:
    """Returns the inconsistency with held-out personas divided by that with training personas; None where unknown."""
    pairs = {
        name: (heldout.estimate(name).value, training.estimate(name).value)
        for name in heldout.drift
        if name in training
    }
    return {name: None if a is None or b is None or b == 1 else (1 - a) / (1 - b) for name, (a, b) in pairs.items()}


def all_scores(log: EvalLog) -> dict[str, Scores]:
    """Returns the scores of all arms by name."""
    return {arm.name: scores(arm, log.header.metrics) for arm in log.arms}
