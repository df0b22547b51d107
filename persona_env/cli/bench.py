"""`persona-env bench`: simulators side by side on the same personas, seeds and questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from persona_env.cli.interrupt import resumable
from persona_env.cli.options import JudgeSpec, Role, Seed, Split, TaskAgent
from persona_env.errors import InputError
from persona_env.evaluation.eval_log import FILE, EvalLog, Header, JudgeInfo, load_eval_log, save_eval_log
from persona_env.evaluation.eval_suite import EvalSuite
from persona_env.evaluation.scoring import all_scores, run_arm
from persona_env.metrics import METRICS
from persona_env.report.drift_table import simulator_table
from persona_env.report.terminal import Terminal, plain
from persona_env.runs.config import RunConfig, check_understanding
from persona_env.runs.run_folder import RunFolder
from persona_env.runs.run_judge import RunJudge
from persona_env.speakers import load_speaker

__all__ = ["bench", "run_benchmark"]


def bench(
    simulators: Annotated[list[str], typer.Argument(help="Specs: tiny, scripted, hf:<...>, openai:<...>.")],
    role: Role = "patient",
    judge: JudgeSpec = "oracle",
    task_agent: TaskAgent = "scripted",
    seed: Seed = 0,
    split: Split = "heldout",
    lines: Annotated[int, typer.Option(help="The simulator's lines in a dialogue.")] = 8,
    dialogues: Annotated[int, typer.Option(help="Dialogues with each simulator.")] = 128,
    personas: Annotated[str, typer.Option(help="bundled, natural, or a file.")] = "bundled",
    metrics: Annotated[str, typer.Option(help="Metrics, separated by commas.")] = ",".join(METRICS.builtins),
    max_tokens: Annotated[int | None, typer.Option(help="Bound on a line's tokens; else the simulator's own.")] = None,
    judge_outage_timeout: Annotated[float, typer.Option(help="Seconds to wait for a judge that is away.")] = 600.0,
    out: Annotated[Path | None, typer.Option(help="A folder for the evaluation log and the figures.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Instead of --out: the folder of one that was cut off.")] = None,
) -> None:
    """Measure simulators side by side on the same personas, seeds and questions."""
    suite = EvalSuite(
        role=role,
        personas=personas,
        split=split,
        dialogues=dialogues,
        lines=lines,
        seed=seed,
        task_agent=task_agent,
        max_tokens=max_tokens,
        metrics=tuple(filter(None, (name.strip() for name in metrics.split(",")))),
    )
    run_benchmark(
        simulators,
        suite,
        judge,
        resume or out,
        resume=resume is not None,
        outage_timeout=judge_outage_timeout,
    )


def run_benchmark(
    simulators: Sequence[str],
    suite: EvalSuite,
    judge: str,
    out: Path | None,
    *,
    resume: bool = False,
    outage_timeout: float = 600.0,
) -> EvalLog:
    """Plays the suite with each simulator, prints one table and, where asked, writes a folder.

    Args:
        simulators: Their specs.
        suite: What is played.
        judge: The judge's spec.
        out: A folder for the evaluation log and the figures; None for none.
        resume: Whether to go on with a benchmark that was cut off there.
        outage_timeout: Seconds that a judge behind a server may be away.

    Raises:
        InputError: If a simulator or judge cannot be had, the folder is not empty, or another benchmark
            was cut off there.
        RunEnded: If the judge cannot go on; what was measured stays in the folder.
        KeyboardInterrupt: After Ctrl-C; likewise, and it says how to go on.
    """
    check_understanding(judge, suite.personas)
    console = Terminal()
    folder = RunFolder(out, resume=resume) if out else None
    run_judge = RunJudge.from_config(
        RunConfig(role=suite.role, personas=suite.personas, judge=judge, judge_outage_timeout=outage_timeout)
    )
    speakers = {spec: load_speaker(spec, suite.max_tokens) for spec in simulators}
    config = {"simulators": [*simulators], "judge": judge, **asdict(suite), "metrics": [*suite.metrics]}
    log = EvalLog(Header.now("bench", suite, JudgeInfo(judge, run_judge.identity, run_judge.is_exact), config))
    way_on = "go on with the same command" + ("" if resume else f", --resume {out} instead of --out")
    with resumable(folder, way_on):
        if folder:
            _write_config(folder.create(), config)
            log = load_eval_log(folder.path) if (folder.path / FILE).is_file() else log
        run_judge.open(folder.path if folder else None)
        for spec, speaker in speakers.items():
            if log.arm(spec) is None:
                with console.status(Text(f"{plain(spec)} is talking")):
                    log = log.with_arm(run_arm(speaker, suite, run_judge, name=spec, spec=spec))
                if folder:
                    save_eval_log(folder.path / FILE, log)
        run_judge.close()
        if folder:
            folder.write_json("summary.json", {name: scores.as_json() for name, scores in all_scores(log).items()})
            folder.close()
        console.print(simulator_table(log))
        if folder:
            console.print(f"Run folder: {folder.path}/")
    return log


def _write_config(folder: RunFolder, config: dict[str, Any]) -> None:
    """Writes what is measured; where a benchmark goes on, it must be the same.

    Raises:
        InputError: If it is not; the difference is shown.
    """
    if not folder.resumed:
        folder.write_json("config.json", config)
        return
    was = folder.read_json("config.json")
    changed = [name for name in {**was, **config} if was.get(name) != config.get(name)]
    if changed:
        shown = ", ".join(f"{name}: was {was.get(name)!r}, is {config.get(name)!r}" for name in changed)
        raise InputError(f"Expected the benchmark that was begun there, got {shown}: give the same or begin anew.")
