"""The table of a calibration: a judge beside one that always says consistent."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from persona_env.calibration.calibration import (
    LEAST_DECIDED,
    LEAST_LABELS,
    LEAST_LOW,
    LEAST_PERSONAS,
    STATISTICS,
    Calibration,
    Figure,
)
from persona_env.calibration.labels import Annotators
from persona_env.report.terminal import plain

__all__ = ["calibration_table"]

_CAPTION = (
    "In [0, 1] (kappa: -1 to 1), with a 95 % interval over personas. An invalid verdict counts as wrong, an "
    "undecided one as none. "
    "AUROC: - where the judge gives no probabilities."
)
_TITLES = {"balanced_accuracy": "balanced accuracy", "kappa": "Cohen's kappa", "auroc": "AUROC"}


def calibration_table(found: Calibration) -> RenderableType:
    """Returns the table of a calibration with what is to be said below it."""
    table = Table(
        title=Text(f"{plain(found.judge)} compared with labels"), caption=_CAPTION, box=box.SIMPLE_HEAD, pad_edge=False
    )
    for name in ("", "the judge", "always consistent"):
        table.add_column(name, justify="right" if name else "left", no_wrap=bool(name))
    for row in found.rows:
        table.add_section()
        name = Text(f"{row.role}, {row.kind}", style="bold")
        table.add_row(name, f"{row.n} labels of {row.personas} personas", f"{row.consistent} say consistent")
        for name, count in (("invalid", row.invalid), ("undecided", row.undecided)):
            table.add_row(f"  {name}", f"{count} ({count / row.n:.1%})", "0 (0.0%)")
        for name in STATISTICS:
            cells = (_figure(row.judged[name]), _figure(row.constant[name]))
            table.add_row(f"  {_TITLES.get(name, name)}", *map(Text, cells))
    return Group(table, *(Text(plain(note)) for note in _notes(found)))


def _figure(figure: Figure) -> str:
    if figure.value is None:
        return "-"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.3f}"
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


def _notes(found: Calibration) -> Iterator[str]:
    for source in found.labels.sources:
        left = f"; {source.invalid} invalid or undecided ones label nothing" if source.invalid else ""
        yield f"{source.file}: {source.labels} labels by {source.what}{left}"
    if found.labels.disputed:
        yield f"{found.labels.disputed} questions are left out: their annotators are evenly divided"
    if found.labels.annotators:
        yield f"annotators {_agreement(found.labels.annotators)} ({'; '.join(found.labels.annotators.names)})"
    if found.members:
        yield f"the ensemble's {len(found.members.names)} members {_agreement(found.members)}"
    yield _verdict(found)


def _agreement(found: Annotators) -> str:
    return f"agree at Krippendorff's alpha {found.alpha:.3f} on {found.questions} questions"


def _verdict(found: Calibration) -> str:
    """Returns in words for what the judge may be used as a reward, for what not and why, and the rule."""
    good = [f"{row.role} {row.kind}" for row in found.rows if row.usable]
    bad = [f"{row.role} {row.kind} ({row.why})" for row in found.rows if not row.usable]
    parts = [f"Usable as a reward for {', '.join(good)}." if good else "Not usable as a reward."]
    if bad:
        parts.append(f"Not for {'; '.join(bad)}.")
    parts.append(
        f"The rule: the lower end of the balanced accuracy is at least {LEAST_LOW}, from at least {LEAST_PERSONAS} "
        f"personas and {LEAST_LABELS} labels of each class, with at least {LEAST_DECIDED:.0%} of the questions decided."
    )
    return " ".join(parts)
