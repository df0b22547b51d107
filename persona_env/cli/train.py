"""`persona-env train`: a progress bar, one table, and a dialogue before and after."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from persona_env.algorithms import ALGORITHMS, BUILTIN
from persona_env.cli.options import with_settings
from persona_env.cli.progress import ProgressReport
from persona_env.errors import InputError
from persona_env.evaluation.eval_log import EvalLog, load_eval_log
from persona_env.io.atomic import write_text
from persona_env.report.drift_table import drift_table
from persona_env.report.terminal import Terminal
from persona_env.report.transcript import before_and_after
from persona_env.roles import role_named
from persona_env.runs.config import JudgeSettings, RunConfig, read_config
from persona_env.runs.costs import judge_remarks
from persona_env.runs.run_folder import CONFIG, RunFolder
from persona_env.runs.train_and_evaluate import EXTENDED_LENGTH, TrainAndEvaluate, is_complete

__all__ = ["resume_training", "run_training", "train"]

_ALGORITHM_HELP = f"{', '.join(BUILTIN)}, or one that is registered; its own options: name?option=value."


@with_settings({"Run": [RunConfig], "Judge": [JudgeSettings], "Algorithm": [ALGORITHMS[name] for name in BUILTIN]})
def train(
    settings: Mapping[str, Any],
    algorithm: Annotated[str | None, typer.Option(help=_ALGORITHM_HELP)] = None,
    resume: Annotated[Path | None, typer.Option(help="Continue the interrupted run in this folder.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder; new or empty.")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file with any of these settings.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, print the plan, stop.")] = False,
) -> None:
    """Train a simulator and print how far its drift fell on held-out personas."""
    values = {**(read_config(config) if config else {}), **settings, **({"algorithm": algorithm} if algorithm else {})}
    if resume is not None:
        if out is not None and out != resume:
            raise InputError(f"Expected --resume alone, got --out {out} too: a run goes on in its own folder.")
        raise typer.Exit(resume_training(resume, values, dry_run=dry_run))
    raise typer.Exit(run_training(RunConfig.from_flat(values), out, dry_run=dry_run))


def run_training(settings: RunConfig, out: Path | None, *, dry_run: bool = False, resume: bool = False) -> int:
    """Runs the main job in `out` or `runs/<role>-<time>`, shows it, and returns its exit code: 0, or 130 after Ctrl-C.

    A `dry_run` checks everything, prints the plan, and writes nothing; with `resume` a run that has begun there goes
    on, or is shown again if it is finished. 75: the judge stayed away, 76: its budget is spent, 77: it failed on known
    answers, 78: too many verdicts could not be read.

    Raises:
        InputError: If anything the run needs cannot be had; nothing is left behind.
        CannotWrite: If there is no room on the disk; the run can be resumed.
        KeyboardInterrupt: After Ctrl-C while nothing is learnt or measured; it says how to go on.
    """
    path = out or Path("runs") / f"{role_named(settings.role).key}-{time.strftime('%Y%m%d-%H%M%S')}"
    console = Terminal()
    with RunFolder(path, resume=resume, way_on=f"persona-env train --resume {path}") as folder:
        if resume and is_complete(folder):
            _show(load_eval_log(path), folder, console)
            return 0
        job = TrainAndEvaluate(settings)
        console.print(_plan(settings, folder))
        if dry_run:
            return 0
        with ProgressReport(job.judge) as progress:
            result = job.run(folder.create(), progress)
        for name in job.checkpoints.damaged:
            console.print(f"The checkpoint {name} is not as it was written; it was not used.")
        _show(result.log, folder, console)
        return result.exit_code


def resume_training(path: Path, given: Mapping[str, Any], *, dry_run: bool = False) -> int:
    """Goes on with a run that was cut off, wherever that was; it ends as if it had not been. See `run_training`.

    Of the settings that are given again, those that change figures must be what they were.
    """
    found = RunFolder(path, resume=True).read_json(CONFIG)
    settings = RunConfig.from_json(found, path / CONFIG).resumed(given)
    return run_training(settings, path, dry_run=dry_run, resume=True)


def _plan(settings: RunConfig, folder: RunFolder) -> Text:
    s = settings
    rewards = ", ".join(f"{name} {weight:g}" for name, weight in s.rewards.items())
    return Text(
        f"{role_named(s.role).key}: {s.simulator} learns by {s.algorithm.name} from {s.tokens:,} tokens in "
        f"{s.envs} dialogues at once "
        f"(rewards: {rewards}).\nMeasured before and after on {s.dialogues} {s.split} personas over {s.lines} lines"
        + (f", and on {s.extended_dialogues} over {EXTENDED_LENGTH * s.lines}" if s.extended_dialogues else "")
        + f", judged by {s.judge}. Run folder: {folder.path}/"
    )


def _show(log: EvalLog, folder: RunFolder, console: Terminal) -> None:
    """Shows what a run has found, and how it ended."""
    found = folder.read_json("summary.json")
    console.print(drift_table(log))
    if text := before_and_after(log):
        with folder.writing("sample.txt"):
            write_text(folder.path / "sample.txt", text)
        console.print()
        console.print(Text(text), soft_wrap=True)
    for remark in judge_remarks(log.header.judge, found["judge_usage"]):
        console.print(remark)
    if found["status"] == "complete":
        console.print(f"{found['tokens']:,} tokens, {found['seconds']:.0f} s. Run folder: {folder.path}/")
    else:
        why = f"Stopped: {found['reason']}" if found["status"] == "stopped" else "Interrupted."
        console.print(f"{why} What there is stands in {folder.path}/; go on with: {folder.way_on}", soft_wrap=True)
