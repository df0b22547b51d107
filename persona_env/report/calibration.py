"""`persona-env judge calibrate`: a judge held against labels, beside one that always says the same."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from persona_env.calibration.calibrate import LEAST_LABELS, LEAST_LOW, LEAST_PEOPLE, STATISTICS, calibrate
from persona_env.calibration.calibration import FILE, Calibration, Figure
from persona_env.calibration.label_file import question_fields
from persona_env.calibration.labels import Annotators, load_labels
from persona_env.io.strict_json import check_target, json_text, write_lines
from persona_env.judges import load_judge
from persona_env.judges.base import Judge
from persona_env.judges.ensemble import Ensemble
from persona_env.judges.kept import KeptJudge
from persona_env.judges.store import VerdictStore
from persona_env.report.terminal import Terminal, plain
from persona_env.runs.run_folder import RunFolder

__all__ = ["calibration_table", "run_calibration", "verdict_sentence"]

_CAPTION = (
    "In [0, 1] (kappa: -1 to 1), with a 95 % interval over people. An invalid verdict counts as wrong. "
    "AUROC: - where the judge gives no probabilities."
)
_TITLES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "kappa": "Cohen's kappa",
    "auroc": "AUROC",
}


def run_calibration(
    spec: str,
    paths: Sequence[Path],
    *,
    prompts: Path | None = None,
    cache: Path | None = None,
    roles: Sequence[str] = (),
    limit: int | None = None,
    seed: int = 0,
    json_out: Path | None = None,
    out: Path | None = None,
) -> Calibration:
    """Calibrates a judge, writes what is asked for, and prints the table and the verdict.

    Args:
        spec: The judge.
        paths: The files of labels.
        prompts: A folder with judge prompts; ours where None.
        cache: A file of verdicts that runs share; what a judge has said there is not asked again.
        roles: Only these; all where empty.
        limit: At most so many questions of each role, kind and label.
        seed: What they are drawn with.
        json_out: A file for the figures.
        out: A folder for the figures (`calibration.json`) and each verdict (`verdicts.jsonl`).

    Raises:
        ValueError: If the judge or the labels cannot be had, the labels are all of one class, or the
            folder is not empty.
    """
    console = Terminal()
    if json_out is not None:
        check_target(json_out)
    labels = load_labels(paths, roles)
    labels = labels if limit is None else labels.limited(limit, seed)
    labels.check_classes()
    judge = load_judge(spec, prompts=prompts)
    folder = RunFolder(out).create() if out else None
    with _kept(judge, cache) as judge, Progress(console=console, transient=True) as progress:
        task = progress.add_task("judging", total=len(labels.items))
        found = calibrate(judge, labels, spec=spec, tick=lambda judged: progress.advance(task, judged))
    if folder:
        folder.write_json(FILE, found.as_json())
        write_lines(folder.path / "verdicts.jsonl", _verdict_lines(found))
    if json_out is not None:
        write_lines(json_out, [json_text(found.as_json())])
    console.print(calibration_table(found))
    return found


@contextlib.contextmanager
def _kept(judge: Judge, cache: Path | None) -> Iterator[Judge]:
    """Yields a judge that asks only what the file does not know; each member for itself, where there are several."""
    if cache is None:
        yield judge
        return
    with VerdictStore(cache) as store:
        members = judge.members if isinstance(judge, Ensemble) else (judge,)
        kept = [KeptJudge(one, store) if hasattr(one, "usage") else one for one in members]
        yield Ensemble(kept) if isinstance(judge, Ensemble) else kept[0]


def _verdict_lines(found: Calibration) -> Iterator[str]:
    for item, verdict in zip(found.labels.items, found.verdicts, strict=True):
        yield json_text(
            {
                "question": question_fields(item.question),
                "label": item.label,
                "verdict": verdict.label,
                "probability": verdict.probability,
                "reason": verdict.reason,
                "raw": verdict.raw,
            }
        )


def calibration_table(found: Calibration) -> RenderableType:
    """Returns the table of a calibration with what is to be said below it."""
    table = Table(
        title=Text(f"{plain(found.judge)} held against labels"), caption=_CAPTION, box=box.SIMPLE_HEAD, pad_edge=False
    )
    for name in ("", "the judge", "always consistent"):
        table.add_column(name, justify="right" if name else "left", no_wrap=bool(name))
    for row in found.rows:
        table.add_section()
        name = Text(f"{row.role}, {row.kind}", style="bold")
        table.add_row(name, f"{row.n} labels of {row.people} people", f"{row.consistent} say consistent")
        table.add_row("  invalid", f"{row.invalid} ({row.invalid / row.n:.1%})", "0 (0.0%)")
        for name in STATISTICS:
            cells = (_figure(row.judged[name]), _figure(row.constant[name]))
            table.add_row(f"  {_TITLES[name]}", *(Text(cell) for cell in cells))
    return Group(table, *(Text(plain(note)) for note in _notes(found)))


def _figure(figure: Figure) -> str:
    if figure.value is None:
        return "-"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.3f}"
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


def _notes(found: Calibration) -> Iterator[str]:
    for source in found.labels.sources:
        left = f"; {source.invalid} invalid ones label nothing" if source.invalid else ""
        yield f"{source.file}: {source.labels} labels by {source.what}{left}"
    if found.labels.disputed:
        yield f"{found.labels.disputed} questions are left out: their annotators are evenly divided"
    if found.labels.annotators:
        yield f"annotators {_agreement(found.labels.annotators)} ({'; '.join(found.labels.annotators.names)})"
    if found.members:
        yield f"the ensemble's {len(found.members.names)} members {_agreement(found.members)}"
    yield verdict_sentence(found)


def _agreement(found: Annotators) -> str:
    return f"agree at Krippendorff's alpha {found.alpha:.3f} on {found.questions} questions"


def verdict_sentence(found: Calibration) -> str:
    """Returns in words for what the judge may be used as a reward, for what not and why, and the rule."""
    good = [f"{row.role} {row.kind}" for row in found.rows if row.usable]
    bad = [f"{row.role} {row.kind} ({row.why})" for row in found.rows if not row.usable]
    parts = [f"Usable as a reward for {', '.join(good)}." if good else "Not usable as a reward."]
    if bad:
        parts.append(f"Not for {'; '.join(bad)}.")
    parts.append(
        f"The rule: the lower end of the balanced accuracy is at least {LEAST_LOW}, from at least {LEAST_PEOPLE} "
        f"people and {LEAST_LABELS} labels of each class."
    )
    return " ".join(parts)
