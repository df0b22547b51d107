"""Compares a judge with labels, beside a judge that always says "consistent"."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from persona_env.calibration.calibration import (
    Calibration,
    CalibrationRow,
    Figure,
    is_calibrated,
    judge_identity,
    known,
)
from persona_env.calibration.label_file import KINDS
from persona_env.calibration.labels import Annotators, Labelled, Labels
from persona_env.judges.base import JudgeLike, Query, Verdict
from persona_env.judges.ensemble import Ensemble
from persona_env.metrics.agreement import Agreement, accuracy, alpha, auroc, balanced_accuracy, kappa, over_personas
from persona_env.metrics.metric import verdicts_on

__all__ = [
    "LEAST_LABELS",
    "LEAST_LOW",
    "LEAST_PERSONAS",
    "STATISTICS",
    "calibrate",
    "is_calibrated",
    "judge_identity",
]

LEAST_PERSONAS = 10
LEAST_LABELS = 20
LEAST_LOW = 0.6
"""A judge is usable as a reward if its labels come from at least this many personas, each class has at least this
many labels, and the lower end of its balanced accuracy is at least this: clearly above the 0.5 of a judge
that always says the same."""

_BATCH = 256

STATISTICS: Mapping[str, tuple[Agreement, float]] = {
    "accuracy": (accuracy, 0.0),
    "balanced_accuracy": (balanced_accuracy, 0.0),
    "kappa": (kappa, -1.0),
    "auroc": (auroc, 0.0),
}
"""The figures by name, each with its lowest value."""


def calibrate(
    judge: JudgeLike,
    labels: Labels,
    *,
    spec: str = "",
    tick: Callable[[int], None] = lambda judged: None,
) -> Calibration:
    """Asks a judge all labelled questions and compares its verdicts with the labels.

    Args:
        judge: The judge; of a ensemble the agreement of its members is told too.
        labels: The questions.
        spec: How the judge is named.
        tick: Called with the number of questions judged since the last call.

    Raises:
        ValueError: If no role and kind has labels of both classes, or the judge miscounts.
    """
    labels.check_classes()
    members = [_Overheard(member) for member in judge.members] if isinstance(judge, Ensemble) else []
    verdicts = _asked(Ensemble(members) if members else judge, labels, tick)
    by_question = {item.question: verdict for item, verdict in zip(labels.items, verdicts, strict=True)}
    rows = [
        _row(role, kind, items, [by_question[i.question] for i in items])
        for (role, kind), items in labels.groups().items()
    ]
    return Calibration(
        judge=spec,
        identity=judge_identity(judge),
        labels=labels,
        rows=tuple(sorted(rows, key=lambda row: (row.role, KINDS.index(row.kind)))),
        verdicts=tuple(verdicts),
        members=_agreement(judge, members, labels) if isinstance(judge, Ensemble) else None,
    )


def _asked(judge: JudgeLike, labels: Labels, tick: Callable[[int], None]) -> list[Verdict]:
    found = list[Verdict]()
    for start in range(0, len(labels.items), _BATCH):
        questions = [item.question for item in labels.items[start : start + _BATCH]]
        found += verdicts_on(questions, judge)
        tick(len(questions))
    return found


class _Overheard:
    """A member of a ensemble whose verdicts are kept, so that nobody is asked twice."""

    def __init__(self, judge: JudgeLike):
        self._judge = judge
        self.labels: dict[Query, str] = {}

    def judge(self, questions: Sequence[Query]) -> list[Verdict]:
        verdicts = self._judge.judge(questions)
        self.labels |= {question: verdict.label for question, verdict in zip(questions, verdicts, strict=False)}
        return verdicts


def _agreement(judge: Ensemble, members: Sequence[_Overheard], labels: Labels) -> Annotators:
    names = tuple(json.dumps(judge_identity(member)) for member in judge.members)
    units = [tuple(member.labels[item.question] for member in members) for item in labels.items]
    return Annotators(names, len(units), alpha(units))


def _row(role: str, kind: str, items: Sequence[Labelled], verdicts: Sequence[Verdict]) -> CalibrationRow:
    truth = [item.label == "consistent" for item in items]
    personas = [item.persona_id for item in items]
    said = [_settled(verdict, label) for verdict, label in zip(verdicts, truth, strict=True)]
    ranked = [_ranked(verdict, label) for verdict, label in zip(verdicts, truth, strict=True)]
    complete = all(verdict.probability is not None or verdict.label == "invalid" for verdict in verdicts)
    judged = _figures(truth, said, ranked if complete else None, personas)
    return CalibrationRow(
        role=role,
        kind=kind,
        n=len(items),
        personas=len(set(personas)),
        consistent=sum(truth),
        invalid=sum(verdict.label == "invalid" for verdict in verdicts),
        judged=judged,
        constant=_figures(truth, [1.0] * len(truth), [1.0] * len(truth), personas),
        why=_why_not(truth, personas, judged["balanced_accuracy"]),
    )


def _settled(verdict: Verdict, label: bool) -> float:
    """Returns a verdict as 1 or 0; an invalid one as the opposite of the label."""
    return float(not label) if verdict.label == "invalid" else verdict.value


def _ranked(verdict: Verdict, label: bool) -> float:
    """Returns a verdict's probability; an invalid one stands beyond the wrong end of all."""
    if verdict.label == "invalid":
        return -1.0 if label else 2.0
    return verdict.probability if verdict.probability is not None else 0.5


def _figures(
    truth: Sequence[bool], said: Sequence[float], ranked: Sequence[float] | None, personas: Sequence[str]
) -> dict[str, Figure]:
    found: dict[str, Figure] = {}
    for name, (statistic, lowest) in STATISTICS.items():
        given = ranked if name == "auroc" else said
        found[name] = Figure()
        if given is not None:
            interval = over_personas(statistic, truth, given, personas, lowest=lowest)
            found[name] = Figure(*map(known, (interval.mean, interval.low, interval.high)))
    return found


def _why_not(truth: Sequence[bool], personas: Sequence[str], balanced: Figure) -> str:
    """Returns why a judge with these figures is not usable as a reward, or "" where it is."""
    good, bad, count = sum(truth), len(truth) - sum(truth), len(set(personas))
    if not (good and bad):
        return "the labels are all of one class"
    if count < LEAST_PERSONAS:
        return f"the labels are of {count} personas, fewer than {LEAST_PERSONAS}"
    if min(good, bad) < LEAST_LABELS:
        return f"only {min(good, bad)} labels are {'consistent' if good < bad else 'inconsistent'}"
    if balanced.low is None:
        return "its balanced accuracy has no interval"
    if balanced.low < LEAST_LOW:
        return f"its balanced accuracy may be as low as {balanced.low:.3f}, below {LEAST_LOW}"
    return ""
