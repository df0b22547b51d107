"""`persona-env bench`: simulators side by side on the same personas, seeds and questions."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import asdict
from os.path import expanduser
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from persona_env.cli.options import JudgeSpec, with_settings
from persona_env.evaluation.eval_log import FILE, EvalLog, Header, JudgeInfo, load_eval_log, save_eval_log
from persona_env.evaluation.eval_suite import EvalSuite
from persona_env.evaluation.scoring import all_scores, run_arm, scores
from persona_env.io.persona_file import names_splits
from persona_env.report.drift_table import simulator_table
from persona_env.report.terminal import Terminal, plain
from persona_env.runs.config import RunConfig, refuse_changes
from persona_env.runs.costs import check_invalid
from persona_env.runs.run_folder import CONFIG, RunFolder
from persona_env.runs.run_judge import RunJudge
from persona_env.speakers import load_speaker

__all__ = ["bench"]


@with_settings({"Suite": [EvalSuite]})
def bench(
    settings: Mapping[str, Any],
    simulators: Annotated[list[str], typer.Argument(help="Specs: tiny, scripted, hf:<...>, openai:<...>.")],
    judge: JudgeSpec = "oracle",
    max_tokens: Annotated[int | None, typer.Option(help="Bound on a line's tokens; else the simulator's own.")] = None,
    judge_outage_timeout: Annotated[float, typer.Option(help="Seconds to wait for a judge that is away.")] = 600.0,
    out: Annotated[Path | None, typer.Option(help="A folder for the evaluation log and the figures.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Instead of --out: the folder of one that was cut off.")] = None,
) -> None:
    """Measure simulators side by side on the same personas, seeds and questions."""
    personas = Path(expanduser(settings.get("personas", "bundled")))
    split = {"split": "all"} if personas.is_file() and not names_splits(personas) else {}  # nothing is trained on them
    suite, console, path = EvalSuite(**{**split, **settings}, max_tokens=max_tokens), Terminal(), resume or out
    way_on = "the same command" + ("" if resume else f", --resume {out} instead of --out")
    folder = RunFolder(path, resume=resume is not None, way_on=way_on) if path else None
    run_judge = RunJudge.from_config(
        RunConfig(role=suite.role, personas=suite.personas, judge=judge, judge_outage_timeout=judge_outage_timeout)
    )
    speakers = {spec: load_speaker(spec, suite.max_tokens) for spec in simulators}
    config = {"simulators": [*simulators], "judge": judge, **asdict(suite), "metrics": [*suite.metrics]}
    log = EvalLog(Header.now("bench", suite, JudgeInfo(judge, run_judge.identity, run_judge.is_exact), config))
    with contextlib.closing(run_judge), folder or contextlib.nullcontext():
        if folder:
            log = _begun(folder.create(), config, log)
        run_judge.open(path)
        for spec, speaker in speakers.items():
            if log.arm(spec) is None:
                with console.status(Text(f"{plain(spec)} is talking")), run_judge.stage():
                    arm = run_arm(speaker, suite, run_judge, name=spec, spec=spec)
                    check_invalid(f"the arm {spec!r}", RunConfig.max_invalid, scores(arm).counts)
                    log = log.with_arm(arm)
                if folder:
                    with folder.writing(FILE):
                        save_eval_log(folder.path / FILE, log)
        if folder:
            folder.write_json("summary.json", {name: found.as_json() for name, found in all_scores(log).items()})
        console.print(simulator_table(log))
        if folder:
            console.print(f"Run folder: {folder.path}/")


def _begun(folder: RunFolder, config: dict[str, Any], log: EvalLog) -> EvalLog:
    """Writes what is measured, and returns what a benchmark that was cut off there has measured; else `log`."""
    if folder.resumed:
        refuse_changes(folder.read_json(CONFIG), config)
    else:
        folder.write_json(CONFIG, config)
    return load_eval_log(folder.path) if (folder.path / FILE).is_file() else log
