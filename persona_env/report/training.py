"""`persona-env train`: a progress bar, one table, and a dialogue before and after."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from persona_env.bench.main_job import LONGER, MainJob
from persona_env.bench.outcome import Outcome
from persona_env.learning.run_folder import RunFolder
from persona_env.learning.settings import Settings
from persona_env.report.drift_table import drift_table
from persona_env.report.transcript import telling_example, transcript

__all__ = ["run_training"]

INTERRUPTED = 130


def run_training(settings: Settings, out: Path | None, *, dry_run: bool = False) -> int:
    """Runs the main job and shows it.

    Args:
        settings: The run.
        out: The run folder; `runs/<role>-<time>` if not given.
        dry_run: Check everything, print the plan, write nothing.

    Returns:
        The exit code: 0, or 130 after Ctrl-C.

    Raises:
        ValueError: If anything the run needs cannot be had; nothing is left behind.
    """
    console = Console()
    folder = RunFolder(out or _fresh_folder(settings))
    job = MainJob(settings)
    console.print(_plan(settings, folder), highlight=False)
    if dry_run:
        return 0
    folder.create()
    outcome = _with_progress(job, folder, console)
    console.print(drift_table(outcome))
    _show_example(outcome, folder, console)
    if outcome.interrupted:
        console.print(f"Interrupted. What there is stands in {folder.path}/", highlight=False)
        return INTERRUPTED
    console.print(f"{outcome.tokens:,} tokens, {sum(outcome.seconds.values()):.0f} s. Run folder: {folder.path}/")
    return 0


def _fresh_folder(settings: Settings) -> Path:
    return Path("runs") / f"{settings.role}-{time.strftime('%Y%m%d-%H%M%S')}"


def _plan(settings: Settings, folder: RunFolder) -> Text:
    s = settings
    rewards = ", ".join(f"{name} {weight:g}" for name, weight in s.rewards.items())
    return Text(
        f"{s.role}: {s.simulator} learns by {s.algorithm} from {s.rollouts} rollouts of {s.envs} x {s.steps} tokens "
        f"(rewards: {rewards}).\nMeasured before and after on {s.dialogues} {s.split} people over {s.lines} lines"
        + (f", and on {s.long_dialogues} over {LONGER * s.lines}" if s.long_dialogues else "")
        + f", judged by {s.judge}. Run folder: {folder.path}/"
    )


def _with_progress(job: MainJob, folder: RunFolder, console: Console) -> Outcome:
    bar = Progress(
        TextColumn("{task.description:<14}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(), console=console,
    )  # fmt: skip
    tasks: dict[str, TaskID] = {}

    def progress(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            tasks[stage] = bar.add_task(stage.replace("_", " "), total=total)
        bar.update(tasks[stage], completed=min(done, total), total=total)

    with bar:
        return job.run(folder, progress)


def _show_example(outcome: Outcome, folder: RunFolder, console: Console) -> None:
    if not outcome.trained:
        return
    before, after = outcome.trained.before, outcome.trained.after
    place = telling_example(before.scores, after.scores)
    parts = []
    for title, measured in (("before", before), ("after", after)):
        text = transcript(measured.played[place], measured.scores, place)
        parts.append(f"--- {title} training ---\n{text}\n")
    text = "\n".join(parts)
    folder.write_text("sample.txt", text)
    console.print()
    console.print(Text(text), soft_wrap=True)
