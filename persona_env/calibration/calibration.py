"""Compares a judge with labels, beside one that always says consistent; `calibration.json` holds what was found."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from os.path import expanduser
from pathlib import Path
from typing import Any

from persona_env.calibration.label_file import KINDS
from persona_env.calibration.labels import Annotators, Labelled, Labels
from persona_env.io.json_files import MAX_LINE, open_file
from persona_env.judges.base import JudgeLike, Verdict, VerdictCounts, as_judge, ask
from persona_env.judges.ensemble import Ensemble, majority
from persona_env.metrics.agreement import Agreement, accuracy, alpha, auroc, balanced_accuracy, kappa, over_personas

__all__ = [
    "FILE",
    "FORMAT",
    "LEAST_DECIDED",
    "LEAST_LABELS",
    "LEAST_LOW",
    "LEAST_PERSONAS",
    "STATISTICS",
    "Calibration",
    "CalibrationRow",
    "Figure",
    "calibrate",
    "is_calibrated",
]

FILE = "calibration.json"
FORMAT = "persona-env/calibration-v1"

# A judge is usable as a reward if it decides half of the questions, these come from so many personas with so many
# labels of each class, and the lower end of its balanced accuracy is at least this: clearly above the 0.5 of a judge
# that always says the same.
LEAST_PERSONAS, LEAST_LABELS, LEAST_LOW, LEAST_DECIDED = 10, 20, 0.6, 0.5

_BATCH = 256

STATISTICS: Mapping[str, tuple[Agreement, float]] = {
    "accuracy": (accuracy, 0.0),
    "balanced_accuracy": (balanced_accuracy, 0.0),
    "kappa": (kappa, -1.0),
    "auroc": (auroc, 0.0),
}
"""The figures by name, each with its lowest value."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its 95 % interval over personas; None where it is not known."""

    value: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationRow:
    """A judge on one kind of question about one role, beside one that always says consistent (`constant`).

    An undecided verdict is an abstention: the figures are over the others. An invalid one counts as wrong everywhere:
    as the opposite of the label in accuracy, balanced accuracy and kappa, and in AUROC as ranked on the wrong side of
    all others. AUROC is known only where every verdict that decides has a probability, no figure where none decides.
    """

    role: str
    kind: str  # the metric that asks
    n: int  # labels, `consistent` of which say that
    personas: int
    consistent: int
    invalid: int  # verdicts
    undecided: int
    judged: Mapping[str, Figure]
    constant: Mapping[str, Figure]
    why: str = ""  # the judge is not usable as a reward for this; "" where it is

    @property
    def usable(self) -> bool:
        """Whether the judge is usable as a reward for this."""
        return not self.why


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A judge (its spec, and all that can change its verdicts) compared with labels."""

    judge: str
    identity: Mapping[str, Any]
    labels: Labels
    rows: tuple[CalibrationRow, ...]  # one for each role and kind of question
    verdicts: tuple[Verdict, ...] = field(repr=False)  # one for each item of the labels
    members: Annotators | None = None  # of an ensemble: how its members agree; invalid and undecided are answers too

    def as_json(self) -> dict[str, Any]:
        """Returns what stands in `calibration.json`; an unknown figure is null."""
        labels = self.labels
        return {
            "format": FORMAT,
            "judge": self.judge,
            "identity": dict(self.identity),
            "labels": {
                "digest": labels.digest,
                "sources": [asdict(source) for source in labels.sources],
                "disputed": labels.disputed,
                "seed": labels.seed,
                "limit": labels.limit,
            },
            "rows": [asdict(row) | {"usable": row.usable} for row in self.rows],
            "annotators": _plain(labels.annotators),
            "members": _plain(self.members),
        }


def _plain(agreement: Annotators | None) -> dict[str, Any] | None:
    return None if agreement is None else asdict(agreement) | {"alpha": _known(agreement.alpha)}


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def calibrate(
    judge: JudgeLike, labels: Labels, *, spec: str = "", tick: Callable[[int], None] = lambda judged: None
) -> Calibration:
    """Asks a judge, named `spec`, all labelled questions and compares its verdicts with the labels.

    `tick` is called with the number of questions judged since the last call.

    Raises:
        InputError: If no role and kind has labels of both classes, or the judge miscounts.
    """
    labels.check_classes()
    judge = as_judge(judge)
    verdicts, votes = list[Verdict](), list[tuple[Verdict, ...]]()
    for start in range(0, len(labels.items), _BATCH):
        questions = [item.question for item in labels.items[start : start + _BATCH]]
        if isinstance(judge, Ensemble):
            votes += judge.votes(questions)
            verdicts += map(majority, votes[start:])
        else:
            verdicts += ask(judge, questions)
        tick(len(questions))
    by_question = {item.question: verdict for item, verdict in zip(labels.items, verdicts, strict=True)}
    rows = [
        _row(role, kind, items, [by_question[item.question] for item in items])
        for (role, kind), items in labels.groups().items()
    ]
    return Calibration(
        judge=spec,
        identity=dict(judge.identity),
        labels=labels,
        rows=tuple(sorted(rows, key=lambda row: (row.role, KINDS.index(row.kind)))),
        verdicts=tuple(verdicts),
        members=_agreement(judge, votes) if isinstance(judge, Ensemble) else None,
    )


def _agreement(judge: Ensemble, votes: Sequence[Sequence[Verdict]]) -> Annotators:
    names = tuple(json.dumps(dict(member.identity)) for member in judge.members)
    return Annotators(names, len(votes), alpha([tuple(verdict.label for verdict in vote) for vote in votes]))


def _row(role: str, kind: str, items: Sequence[Labelled], verdicts: Sequence[Verdict]) -> CalibrationRow:
    counts = VerdictCounts.of(verdicts)
    answers = [(item, v) for item, v in zip(items, verdicts, strict=True) if v.label != "undecided"]
    judged = _judged(answers) if counts.judged else dict.fromkeys(STATISTICS, Figure())
    truth, personas = [item.label == "consistent" for item in items], [item.persona_id for item in items]
    return CalibrationRow(
        role=role,
        kind=kind,
        n=len(items),
        personas=len(set(personas)),
        consistent=sum(truth),
        invalid=counts.invalid,
        undecided=counts.undecided,
        judged=judged,
        constant=_figures(truth, [1.0] * len(truth), [1.0] * len(truth), personas),
        why=_why_not(items, counts, [item for item, _ in answers], judged["balanced_accuracy"]),
    )


def _judged(answers: Sequence[tuple[Labelled, Verdict]]) -> dict[str, Figure]:
    """Returns the figures of verdicts that are not undecided."""
    truth = [item.label == "consistent" for item, _ in answers]
    pairs = [(verdict, label) for (_, verdict), label in zip(answers, truth, strict=True)]
    said = [float(not label) if verdict.label == "invalid" else verdict.value for verdict, label in pairs]
    complete = all(verdict.probability is not None or verdict.label == "invalid" for verdict, _ in pairs)
    ranked = [_ranked(*pair) for pair in pairs] if complete else None
    return _figures(truth, said, ranked, [item.persona_id for item, _ in answers])


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
            found[name] = Figure(*map(_known, (interval.mean, interval.low, interval.high)))
    return found


def _why_not(items: Sequence[Labelled], counts: VerdictCounts, answered: Sequence[Labelled], balanced: Figure) -> str:
    """Returns why a judge with these figures is not usable as a reward, or "" where it is."""
    if len({item.label for item in items}) < 2:
        return "the labels are all of one class"
    if not counts.judged:
        return "none of its verdicts decides"
    if counts.undecided > (1 - LEAST_DECIDED) * len(items):
        return f"it leaves {counts.undecided} of {len(items)} questions undecided"
    good = sum(item.label == "consistent" for item in answered)
    bad, count = len(answered) - good, len({item.persona_id for item in answered})
    if count < LEAST_PERSONAS:
        return f"the labels are of {count} personas, fewer than {LEAST_PERSONAS}"
    if min(good, bad) < LEAST_LABELS:
        return f"only {min(good, bad)} labels are {'consistent' if good < bad else 'inconsistent'}"
    if balanced.low is None:
        return "its balanced accuracy has no interval"
    if balanced.low < LEAST_LOW:
        return f"its balanced accuracy may be as low as {balanced.low:.3f}, below {LEAST_LOW}"
    return ""


def is_calibrated(
    path_or_folder: str | Path, identity: Mapping[str, Any], role: str, kinds: Collection[str] = ()
) -> bool:
    """Returns whether a `calibration.json`, or one in a folder, says that this judge is usable for a role.

    A judge with another prompt or model has another identity. All `kinds` of question that are paid for must be
    usable; where none is given, all that were measured, at least one. False also where the file cannot be read:
    nothing is trusted by default.
    """
    path = Path(expanduser(path_or_folder))
    try:
        with open_file(path / FILE if path.is_dir() else path) as file:
            found = json.loads(file.read(MAX_LINE).decode("utf-8"))
        known = json.dumps(found["identity"], sort_keys=True)
        if found["format"] != FORMAT or known != json.dumps(identity, sort_keys=True):
            return False
        usable = {row["kind"]: row["usable"] is True for row in found["rows"] if row["role"] == role}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return False
    return bool(usable) and all(usable.get(kind, False) for kind in (kinds or usable))
