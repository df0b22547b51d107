"""`persona-env bench`: simulators side by side on the same personas, seeds and questions."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from persona_env.cli.arms import named_arms
from persona_env.cli.options import MaxTokens, suite_of, taken, with_settings
from persona_env.cli.progress import ProgressReport
from persona_env.evaluation.eval_suite import EvalSuite
from persona_env.evaluation.scoring import all_scores
from persona_env.judges.base import VerdictCounts
from persona_env.report.drift_table import legend, simulator_table
from persona_env.report.terminal import Terminal
from persona_env.runs.benchmark import Benchmark
from persona_env.runs.config import JudgeSettings
from persona_env.runs.costs import judge_remarks, judge_usage
from persona_env.runs.run_folder import RunFolder

__all__ = ["bench"]

_SIMULATORS = "Specs, named or not: tiny, mine=hf:<...>, base=openai:<...>, run:<run folder>, a model folder."


@with_settings({"Suite": [EvalSuite], "Judge": [JudgeSettings]})
def bench(
    settings: Mapping[str, Any],
    simulators: Annotated[list[str], typer.Argument(help=_SIMULATORS)],
    max_tokens: MaxTokens = None,
    out: Annotated[Path | None, typer.Option(help="A folder for the evaluation log and the figures.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Instead of --out: the folder of one that was cut off.")] = None,
) -> None:
    """Measure simulators side by side on the same personas, seeds and questions."""
    arms, suite = named_arms(simulators), suite_of(settings, max_tokens)
    judging, path = JudgeSettings(**taken(JudgeSettings, settings)), resume or out
    way_on = "the same command" + ("" if resume else f", --resume {out} instead of --out")
    folder = RunFolder(path, resume=resume is not None, way_on=way_on) if path else None
    benchmark, console = Benchmark(arms, suite, judging, simulators), Terminal()
    with folder or contextlib.nullcontext():
        with ProgressReport(benchmark.judge) as progress:
            log = benchmark.run(folder and folder.create(), progress)
        console.print(simulator_table(log))
        for line in legend(log):
            console.print(line, soft_wrap=True)
        verdicts = sum((found.counts for found in all_scores(log).values()), VerdictCounts())
        usage = judge_usage(benchmark.counts, judging.judge_budget, verdicts)
        for remark in judge_remarks(log.header.judge, usage):
            console.print(remark)
        if folder:
            console.print(f"Run folder: {folder.path}/")
