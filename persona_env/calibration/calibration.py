"""The result of a calibration, as a table and as the file `calibration.json`.

The file holds, for those who read it later:

- `format`: "persona-env/calibration-v1"; `judge`: its spec; `identity`: all that can change its verdicts;
- `labels`: `digest` (SHA-256 of questions, labels and persons), `sources`, `disputed`, `seed`, `limit`;
- `rows`, one for each `role` and `kind` of question: `n`, `personas`, `consistent` (labels of that class),
  `invalid` (verdicts), `judged` and `constant` (each with `accuracy`, `balanced_accuracy`, `kappa`, `auroc`
  as `value`, `low`, `high`; null where unknown), `usable` and, where it is not, `why`;
- `annotators` and `members`: who, on how many questions, and Krippendorff's `alpha`; null where one alone judged.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from persona_env.calibration.labels import Annotators, Labels
from persona_env.io.json_files import MAX_LINE, open_file
from persona_env.judges.base import JudgeLike, Verdict, as_judge

__all__ = [
    "FILE",
    "FORMAT",
    "Calibration",
    "CalibrationRow",
    "Figure",
    "is_calibrated",
    "judge_identity",
    "known",
]

FILE = "calibration.json"
FORMAT = "persona-env/calibration-v1"


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its 95 % interval over personas; None where it is not known."""

    value: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationRow:
    """A judge on one kind of question about one role.

    An invalid verdict counts as wrong everywhere: as the opposite of the label in accuracy, balanced
    accuracy and kappa, and in AUROC as ranked on the wrong side of all others. AUROC is known only
    where every valid verdict has a probability.

    Attributes:
        role: Key of the role.
        kind: The metric that asks.
        n: Labels.
        personas: Different personas in them.
        consistent: Labels that say consistent.
        invalid: Invalid verdicts.
        judged: The judge's figures.
        constant: Those of a judge that always says consistent, on the same items.
        why: Why it is not usable as a reward; "" where it is.
    """

    role: str
    kind: str
    n: int
    personas: int
    consistent: int
    invalid: int
    judged: Mapping[str, Figure]
    constant: Mapping[str, Figure]
    why: str = ""

    @property
    def usable(self) -> bool:
        """Whether the judge is usable as a reward for this."""
        return not self.why


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A judge compared with labels.

    Attributes:
        judge: Its spec.
        identity: All that can change its verdicts.
        labels: What it was compared with.
        rows: One for each role and kind of question.
        verdicts: Its verdicts, one for each item of the labels.
        members: For a ensemble, the agreement of its members; invalid is an answer of its own.
    """

    judge: str
    identity: Mapping[str, Any]
    labels: Labels
    rows: tuple[CalibrationRow, ...]
    verdicts: tuple[Verdict, ...] = field(repr=False)
    members: Annotators | None = None

    def as_json(self) -> dict[str, Any]:
        """Returns what stands in `calibration.json`."""
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
    return None if agreement is None else asdict(agreement) | {"alpha": known(agreement.alpha)}


def known(value: float) -> float | None:
    """Returns a number, or None for nan."""
    return None if math.isnan(value) else value


def judge_identity(judge: JudgeLike) -> dict[str, Any]:
    """Returns all that can change a judge's verdicts, as plain data."""
    return dict(as_judge(judge).identity)


def is_calibrated(
    path_or_folder: str | Path, identity: Mapping[str, Any], role: str, kinds: Collection[str] = ()
) -> bool:
    """Returns whether a judge was calibrated for a role and found usable.

    Args:
        path_or_folder: A `calibration.json`, or the folder that holds it.
        identity: The judge's (see `judge_identity`): a judge with another prompt or model is another judge.
        role: Key of the role.
        kinds: The kinds of question that are paid for (`prompt_to_line`, ...); each must be usable. Where
            empty, all that were measured, at least one.

    Returns:
        False also where there is no such file, or it cannot be read: nothing is trusted by default.
    """
    path = Path(path_or_folder)
    try:
        with open_file(path / FILE if path.is_dir() else path) as file:
            found = json.loads(file.read(MAX_LINE).decode("utf-8"))
        if found["format"] != FORMAT or _canonical(found["identity"]) != _canonical(identity):
            return False
        usable = {row["kind"]: row["usable"] is True for row in found["rows"] if row["role"] == role}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return False
    return bool(usable) and all(usable.get(kind, False) for kind in (kinds or usable))


def _canonical(identity: Mapping[str, Any]) -> str:
    return json.dumps(identity, sort_keys=True)
