"""`persona-env judge calibrate`: compares a judge with labels."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress

from persona_env.calibration.calibration import FILE, Calibration, calibrate
from persona_env.calibration.label_file import question_fields
from persona_env.calibration.labels import load_labels
from persona_env.io.atomic import check_target, write_json, write_jsonl
from persona_env.judges import load_judge
from persona_env.judges.base import VerdictCounts
from persona_env.models.limits import ModelResources
from persona_env.models.reply_cache import ReplyCache
from persona_env.report.calibration import calibration_table
from persona_env.report.terminal import Terminal
from persona_env.runs.costs import check_invalid
from persona_env.runs.run_folder import RunFolder

__all__ = ["judge_app", "judge_calibrate"]

judge_app = typer.Typer(help="Look into a judge before it pays rewards.", no_args_is_help=True)


@judge_app.command("calibrate")
def judge_calibrate(
    judge: Annotated[str, typer.Option(help="The judge, as in train.")],
    labels: Annotated[list[Path], typer.Option(help="Labels: a log, Dialogue NLI or labels.jsonl; again for more.")],
    judge_prompts: Annotated[Path | None, typer.Option(help="A folder with judge prompts; ours if none.")] = None,
    role: Annotated[list[str] | None, typer.Option(help="Only this role; again for more.")] = None,
    judge_cache: Annotated[Path | None, typer.Option(help="A file of replies, as in train.")] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many of each role, kind and label.")] = None,
    seed: Annotated[int, typer.Option(help="What the limit is drawn with.")] = 0,
    json_out: Annotated[Path | None, typer.Option("--json", help="Write the figures here too.")] = None,
    out: Annotated[Path | None, typer.Option(help="A new folder for calibration.json and every verdict.")] = None,
) -> Calibration:
    """Compare a judge with labels, beside one that always says consistent, and say if it is usable as a reward."""
    console = Terminal()
    if json_out is not None:
        check_target(json_out)
    found = load_labels(labels, role or ())
    found = found if limit is None else found.limited(limit, seed)
    found.check_classes()
    with (
        contextlib.closing(load_judge(judge, prompts=judge_prompts)) as made_judge,
        RunFolder(out).create() if out else contextlib.nullcontext() as folder,
        ReplyCache(judge_cache) if judge_cache else contextlib.nullcontext() as replies,
    ):
        made_judge.use(ModelResources(() if replies is None else (replies,)))
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("judging", total=len(found.items))
            result = calibrate(made_judge, found, spec=judge, tick=lambda judged: progress.advance(task, judged))
        if folder:
            folder.write_json(FILE, result.as_json())
            write_jsonl(folder.path / "verdicts.jsonl", _verdict_rows(result))
    if json_out is not None:
        write_json(json_out, result.as_json())
    console.print(calibration_table(result))
    check_invalid("the calibration", 1.0, VerdictCounts.of(result.verdicts))
    return result


def _verdict_rows(found: Calibration) -> Iterator[dict[str, Any]]:
    for item, verdict in zip(found.labels.items, found.verdicts, strict=True):
        yield {
            "question": question_fields(item.question),
            "label": item.label,
            "verdict": verdict.label,
            "probability": verdict.probability,
            "reason": verdict.reason,
            "raw": verdict.raw,
        }
