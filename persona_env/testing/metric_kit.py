"""What every metric must do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from persona_env.conversation import Conversation
from persona_env.judges.base import Label, Query, Verdict
from persona_env.metrics import Metric, Score
from persona_env.testing.samples import require, sample_conversations

__all__ = ["check_metric"]


@dataclass
class Always:
    """A judge that gives one label to everything, and keeps the sizes of its batches."""

    label: Label
    short_by: int = 0
    batches: list[int] = field(default_factory=list)

    def judge(self, questions: Sequence[Query]) -> list[Verdict]:
        self.batches.append(len(questions))
        return [Verdict(self.label)] * (len(questions) - self.short_by)


def check_metric(metric: Metric, *, conversations: Sequence[Conversation] | None = None) -> None:
    """Checks that a metric is a pure function in [0, 1], 1 is good, that counts and fails closed.

    >>> from persona_env.metrics import PromptToLine
    >>> check_metric(PromptToLine())
    """
    talks = list(sample_conversations() if conversations is None else conversations)
    require(isinstance(metric, Metric), "metric.protocol", f"{metric!r} is no persona_env.metrics.Metric")
    require(metric.name.isidentifier(), "metric.name", f"Expected a word, got {metric.name!r}")
    described = bool(metric.title) and metric.group in ("drift", "guard") and metric.shows in ("good", "bad")
    require(described, "metric.described", "Expected a title, a group (drift, guard) and shows (good, bad)")
    idle = Always("consistent")
    require(metric([], idle) == [] and not idle.batches, "metric.no_conversations", "asks about nothing")
    good, bad = Always("consistent"), Always("inconsistent")
    best, worst = metric(talks, good), metric(talks, bad)
    for scores in (best, worst):
        require(len(scores) == len(talks), "metric.one_score_each", f"{len(talks)} dialogues, {len(scores)} scores")
        for score in scores:
            _check_score(score)
    require(len(good.batches) <= 1, "metric.one_judge_call", f"it called the judge {len(good.batches)} times")
    is_turned = any(b.value < w.value for b, w in zip(best, worst, strict=True))
    require(not is_turned, "metric.one_is_good", "good verdicts score lower than bad ones")
    again = metric(talks[::-1], Always("consistent"))[::-1]
    require(
        [str(score.per_line) for score in again] == [str(score.per_line) for score in best],
        "metric.pure",
        "scored again in another order, the conversations get other scores",
    )
    _check_fails_closed(metric, talks)


def _check_score(score: Score) -> None:
    readable = [value for value in score.per_line if not math.isnan(value)]
    require(set(readable) <= {0.0, 1.0}, "metric.range", f"Expected 0.0, 1.0 or nan per line, got {score.per_line}")
    rest = len(score.per_line) - score.n
    require(
        score.n == len(readable) and 0 <= score.invalid + score.undecided <= rest,
        "metric.counts",
        f"Expected n={len(readable)} and at most {rest} more invalid or undecided, got n={score.n}, "
        f"invalid={score.invalid}, undecided={score.undecided} of {score.per_line}",
    )
    mean = sum(readable) / len(readable) if readable else math.nan
    is_mean = math.isclose(score.value, mean) or (math.isnan(score.value) and math.isnan(mean))
    require(is_mean, "metric.mean", f"Expected the mean of the readable lines, {mean}, got {score.value}")


def _check_fails_closed(metric: Metric, talks: Sequence[Conversation]) -> None:
    asked = sum(not isinstance(f, Verdict) for row in metric.queries(talks) for f in row)
    for label in ("invalid", "undecided"):
        counted = sum(getattr(score, label) for score in metric(talks, Always(label)))
        require(counted == asked, "metric.fails_closed", f"of {asked} {label} verdicts it counts {counted}")
    if not asked:
        return
    try:
        metric(talks, Always("consistent", short_by=1))
    except ValueError:
        return
    require(False, "metric.fails_closed", "a judge that leaves out a verdict is to raise ValueError")
