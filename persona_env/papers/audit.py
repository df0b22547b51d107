"""The audit of a log: what it records, what its own raw replies give, and what can be read of them strictly."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from persona_env.io import LoggedDialogue, SpeakerKey, load_logs
from persona_env.metrics import METRICS, LineMetric, Score, load_metric
from persona_env.metrics.statistics import clustered_mean, clustered_share
from persona_env.papers.paper_scores import FailClosed, PaperMetric, PaperScore, audit, fail_closed, paper_scores

__all__ = ["Audit", "AuditRow", "audit_log"]

# Our metrics, and what the paper's logs call theirs.
_PAPER_NAMES: dict[str, PaperMetric] = {
    "prompt_to_line": "prompt",
    "line_to_line": "index",
    "question_answer": "survey",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One metric of one log; every share is in [0, 1], 1 is good, averaged over personas.

    `recorded` is the paper's score in the log (for `line_to_line` the pair score, for `question_answer` the share of
    right answers), `recomputed` the same from the raw replies by the paper's (fail-open) rule. `fail_closed` is the
    share of good lines among those with a verdict, with its 95 % interval over personas (`low`, `high`); for
    `line_to_line` lines without any conflict, which longer dialogues do not dilute.
    """

    file: str
    metric: str
    dialogues: int
    personas: int
    n: int  # lines (or answers) with a verdict; those without one are `invalid`, those with two `undecided`
    invalid: int
    undecided: int = 0
    recorded: float | None = None
    recomputed: float | None = None
    disagreements: int = 0  # recorded scores that are not the recomputed ones
    fail_closed: float | None = None
    low: float | None = None
    high: float | None = None
    broken_golds: int = 0  # how many of the `questions` of `question_answer` have a broken gold answer
    questions: int = 0


@dataclass(frozen=True, slots=True)
class Audit:
    """The audit of one log: a row for each metric, and every score that disagrees with its replies."""

    rows: tuple[AuditRow, ...]
    disagreements: tuple[PaperScore, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """One judged speaker of one dialogue."""

    dialogue: LoggedDialogue
    speaker: SpeakerKey
    scores: dict[str, PaperScore]
    fail_closed: FailClosed

    @property
    def persona(self) -> str:
        """The persona; a speaker without one stands for itself."""
        persona = self.dialogue.speaker(self.speaker).persona
        return persona.id if persona else f"{self.dialogue.place} {self.speaker}"


def audit_log(path: str | Path) -> Audit:
    """Returns the audit of a log file; raises FileError if it is none."""
    dialogues = load_logs(path)
    parts = [part for dialogue in dialogues for part in _parts(dialogue)]
    rows = [_judged_row(str(path), metric, parts) for metric in _PAPER_NAMES]
    metrics = [load_metric(name) for name in METRICS.builtins]
    guards = [metric for metric in metrics if isinstance(metric, LineMetric) and not metric.is_judged]
    rows += [_guard_row(str(path), metric, parts) for metric in guards]
    found = tuple(row for row in rows if row.n or row.invalid or row.undecided or row.recorded is not None)
    return Audit(found, tuple(audit(dialogues)))


def _parts(dialogue: LoggedDialogue) -> Iterator[_Part]:
    scores = paper_scores(dialogue)
    for speaker in dialogue.judged or ("P2",):
        own = {score.metric: score for score in scores if score.speaker == speaker}
        yield _Part(dialogue, speaker, {**own}, fail_closed(dialogue, speaker))


def _judged_row(file: str, metric: str, parts: Sequence[_Part]) -> AuditRow:
    """Returns the row of a metric that a judge was asked for."""
    name = _PAPER_NAMES[metric]
    found = [(part, cast("Score", getattr(part.fail_closed, metric)), part.scores.get(name)) for part in parts]
    found = [(part, score, paper) for part, score, paper in found if paper or score.per_line]
    personas = [part.persona for part, _, _ in found]
    papers = [(part.persona, paper) for part, _, paper in found if paper and paper.n]
    asked = metric == "question_answer"
    return AuditRow(
        file=file,
        metric=metric,
        **_counts([part for part, _, _ in found], [score for _, score, _ in found]),
        recorded=_mean((persona, _share(s.recorded, s)) for persona, s in papers),
        recomputed=_mean((persona, _share(s.recomputed, s)) for persona, s in papers),
        disagreements=sum(not paper.agrees for _, _, paper in found if paper),
        **_estimate(personas, [score for _, score, _ in found]),
        broken_golds=sum(part.fail_closed.broken_golds for part in parts) if asked else 0,
        questions=sum(part.fail_closed.questions for part in parts) if asked else 0,
    )


def _guard_row(file: str, metric: LineMetric, parts: Sequence[_Part]) -> AuditRow:
    """Returns the row of a guard that the texts alone settle."""
    known = [part for part in parts if part.dialogue.speaker(part.speaker).persona]
    scores = metric([part.dialogue.conversation(part.speaker) for part in known])
    return AuditRow(
        file=file,
        metric=metric.name,
        **_counts(known, scores),
        **_estimate([part.persona for part in known], scores),
    )


def _counts(parts: Sequence[_Part], scores: Sequence[Score]) -> dict[str, Any]:
    return {
        "dialogues": len({id(part.dialogue) for part in parts}),
        "personas": len({part.persona for part in parts}),
        "n": sum(score.n for score in scores),
        "invalid": sum(score.invalid for score in scores),
        "undecided": sum(score.undecided for score in scores),
    }


def _estimate(personas: Sequence[str], scores: Sequence[Score]) -> dict[str, Any]:
    if not scores:
        return {}
    interval = clustered_share([score.value for score in scores], personas, [score.n for score in scores])
    ends = {"fail_closed": interval.mean, "low": interval.low, "high": interval.high}
    return {name: None if math.isnan(value) else value for name, value in ends.items()}


def _share(value: float | None, score: PaperScore) -> float | None:
    return None if value is None else value / score.out_of


def _mean(values: Iterable[tuple[str, float | None]]) -> float | None:
    known = [(persona, value) for persona, value in values if value is not None]
    if not known:
        return None
    return clustered_mean([value for _, value in known], [persona for persona, _ in known]).mean
