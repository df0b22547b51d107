"""`persona-env report`: the tables of an evaluation log, printed again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from persona_env.evaluation.eval_log import load_eval_log
from persona_env.report.drift_table import legend, log_table
from persona_env.report.terminal import Terminal

__all__ = ["report"]


def report(
    log: Annotated[Path, typer.Argument(help="A run folder, or an evaluation log (eval.jsonl).")],
) -> None:
    """Print the tables of a training run or a benchmark again, from its evaluation log."""
    found, console = load_eval_log(log), Terminal()
    console.print(log_table(found))
    for line in legend(found):
        console.print(line, soft_wrap=True)
