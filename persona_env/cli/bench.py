"""`persona-env bench`: simulators side by side on the same people, seeds and questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from persona_env.cli.interrupt import resumable
from persona_env.cli.options import JudgeSpec, Role, Seed, Split
from persona_env.errors import InputError
from persona_env.evaluation.eval_suite import EvalSuite
from persona_env.evaluation.records import dialogue_records
from persona_env.evaluation.rollout import play
from persona_env.evaluation.scoring import Scores, score
from persona_env.evaluation.stages import load_stage, save_stage
from persona_env.io import save_logs
from persona_env.judges.base import Judge
from persona_env.report.drift_table import simulator_table
from persona_env.report.terminal import Terminal, plain
from persona_env.runs.checkpoint import Checkpoints
from persona_env.runs.config import RunConfig, check_understanding
from persona_env.runs.result import Measured
from persona_env.runs.run_folder import RunFolder
from persona_env.runs.run_judge import RunJudge
from persona_env.speakers import Speaker, load_speaker

__all__ = ["bench", "run_benchmark"]


def bench(
    simulators: Annotated[list[str], typer.Argument(help="Specs: tiny, scripted, hf:<...>, openai:<...>.")],
    role: Role = "patient",
    judge: JudgeSpec = "oracle",
    seed: Seed = 0,
    split: Split = "heldout",
    lines: Annotated[int, typer.Option(help="The simulator's lines in a dialogue.")] = 8,
    dialogues: Annotated[int, typer.Option(help="Dialogues with each simulator.")] = 128,
    personas: Annotated[str, typer.Option(help="bundled, natural, or a file.")] = "bundled",
    max_tokens: Annotated[int | None, typer.Option(help="Bound on a line's tokens; else the simulator's own.")] = None,
    judge_outage_timeout: Annotated[float, typer.Option(help="Seconds to wait for a judge that is away.")] = 600.0,
    out: Annotated[Path | None, typer.Option(help="A folder for the dialogues and the figures.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Instead of --out: the folder of one that was cut off.")] = None,
) -> None:
    """Measure simulators side by side on the same people, seeds and questions."""
    suite = EvalSuite(
        role=role, personas=personas, split=split, dialogues=dialogues, lines=lines, seed=seed, max_tokens=max_tokens
    )
    run_benchmark(simulators, suite, judge, resume or out, resume=resume is not None, patience=judge_outage_timeout)


def run_benchmark(
    simulators: Sequence[str],
    suite: EvalSuite,
    judge: str,
    out: Path | None,
    *,
    resume: bool = False,
    patience: float = 600.0,
) -> dict[str, Scores]:
    """Plays the suite with each simulator, prints one table and, where asked, writes a folder.

    Args:
        simulators: Their specs.
        suite: What is played.
        judge: The judge's spec.
        out: A folder for the dialogues and the figures; None for none.
        resume: Whether a benchmark was cut off there: what it has measured is read again.
        patience: Seconds that a judge behind a server may be away.

    Raises:
        ValueError: If a simulator or judge cannot be had, the folder is not empty, or another benchmark
            was cut off there.
        RunEnded: If the judge cannot go on; what was measured stays in the folder.
        KeyboardInterrupt: After Ctrl-C; likewise, and it says how to go on.
    """
    check_understanding(judge, suite.personas)
    console = Terminal()
    folder = RunFolder(out, resume=resume) if out else None
    ears = RunJudge(RunConfig(role=suite.role, personas=suite.personas, judge=judge, judge_outage_timeout=patience))
    speakers = {spec: load_speaker(spec, suite.max_tokens) for spec in simulators}
    way_on = "go on with the same command" + ("" if resume else f", --resume {out} instead of --out")
    with resumable(folder, way_on):
        if folder:
            _keep_config(folder.create(), {"simulators": [*simulators], "judge": judge, **asdict(suite)})
            ears.open(folder.path)
        checkpoints = Checkpoints(folder) if folder else None
        found: dict[str, Measured] = {}
        for number, (spec, speaker) in enumerate(speakers.items()):
            with console.status(Text(f"{plain(spec)} is talking")):
                found[spec] = _measured(f"{number:03d}", speaker, suite, ears, checkpoints)
        ears.close()
        scores = {spec: measured.scores for spec, measured in found.items()}
        if folder:
            records = (one for spec, m in found.items() for one in dialogue_records(spec, m.played, m.scores))
            save_logs(folder.path / "dialogues.jsonl", records)
            folder.write_json("summary.json", {spec: measured.as_json() for spec, measured in scores.items()})
            folder.close()
        console.print(simulator_table(_title(suite, judge), scores))
        if folder:
            console.print(f"Run folder: {folder.path}/")
    return scores


def _title(suite: EvalSuite, judge: str) -> str:
    return (
        f"{suite.role}: {suite.dialogues} dialogues of {suite.lines} lines with {suite.split} people, judged by {judge}"
    )


def _measured(name: str, speaker: Speaker, suite: EvalSuite, judge: Judge, checkpoints: Checkpoints | None) -> Measured:
    """Returns a simulator's dialogues and scores, from the folder where they stand there already."""
    known = load_stage(checkpoints, name) if checkpoints else None
    if known is not None:
        return known
    played = play(speaker, suite)
    measured = Measured(suite, played, score(played, judge))
    if checkpoints:
        save_stage(checkpoints, name, measured)
    return measured


def _keep_config(folder: RunFolder, config: dict[str, Any]) -> None:
    """Writes what is measured; where that stands there already, it must be the same.

    Raises:
        ValueError: If it is not; the difference is shown.
    """
    if not folder.resumed:
        folder.write_json("config.json", config)
        return
    was = folder.read_json("config.json")
    changed = [name for name in {**was, **config} if was.get(name) != config.get(name)]
    if changed:
        shown = ", ".join(f"{name}: was {was.get(name)!r}, is {config.get(name)!r}" for name in changed)
        raise InputError(f"Expected the benchmark that was begun there, got {shown}: give the same or begin anew.")
