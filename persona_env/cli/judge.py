"""`persona-env judge calibrate`: compares a judge with labels."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from persona_env.calibration.calibration import FILE, Calibration, calibrate
from persona_env.calibration.label_file import question_fields
from persona_env.calibration.labels import load_labels
from persona_env.cli.options import with_settings
from persona_env.cli.progress import ProgressReport
from persona_env.evaluation.rollout import counter
from persona_env.io.atomic import check_target, write_json, write_jsonl
from persona_env.judges.base import VerdictCounts
from persona_env.report.calibration import calibration_table
from persona_env.report.terminal import Terminal
from persona_env.runs.config import JudgeSettings
from persona_env.runs.costs import check_invalid
from persona_env.runs.run_folder import RunFolder
from persona_env.runs.run_judge import RunJudge

__all__ = ["judge_app", "judge_calibrate"]

judge_app = typer.Typer(help="Look into a judge before it pays rewards.", no_args_is_help=True)


@judge_app.command("calibrate")
@with_settings({"Judge": [JudgeSettings]})
def judge_calibrate(
    settings: Mapping[str, Any],
    labels: Annotated[list[Path], typer.Option(help="Labels: a log, Dialogue NLI or labels.jsonl; again for more.")],
    role: Annotated[list[str] | None, typer.Option(help="Only this role; again for more.")] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many of each role, kind and label.")] = None,
    seed: Annotated[int, typer.Option(help="What the limit is drawn with.")] = 0,
    json_out: Annotated[Path | None, typer.Option("--json", help="Write the figures here too.")] = None,
    out: Annotated[Path | None, typer.Option(help="A new folder for calibration.json and every verdict.")] = None,
) -> Calibration:
    """Compare a judge with labels, beside one that always says consistent, and say if it is usable as a reward.

    Invalid verdicts are a finding here: unless --max-invalid is given, only a judge that decides nothing is an error.
    """
    judging = JudgeSettings(**settings)
    if json_out is not None:
        check_target(json_out)
    found = load_labels(labels, role or ())
    found = found if limit is None else found.limited(limit, seed)
    found.check_classes()
    with (
        contextlib.closing(RunJudge.from_settings(judging)) as judge,
        RunFolder(out).create() if out else contextlib.nullcontext() as folder,
        ProgressReport(judge) as progress,
    ):
        judge.open(folder and folder.path)
        result = calibrate(judge.inner, found, spec=judging.judge, tick=counter(progress, "judging", len(found.items)))
        if folder:
            folder.write_json(FILE, result.as_json())
            write_jsonl(folder.path / "verdicts.jsonl", _verdict_rows(result))
    if json_out is not None:
        write_json(json_out, result.as_json())
    Terminal().print(calibration_table(result))
    check_invalid("the calibration", settings.get("max_invalid", 1.0), VerdictCounts.of(result.verdicts))
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
