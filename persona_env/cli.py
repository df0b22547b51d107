"""The command line: `persona-env train | bench | audit | play`, the same as `python -m persona_env`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["app", "main"]

app = typer.Typer(
    name="persona-env",
    help="Measure the drift of simulated people, train it away, and talk to them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Role = Annotated[str, typer.Option(help="Who is simulated: patient, student or chat_partner.")]
Simulator = Annotated[str, typer.Option(help="The simulator: tiny, scripted or hf:<folder or hub id>.")]
JudgeSpec = Annotated[str, typer.Option("--judge", help="The judge: oracle or recorded:<log>.")]
Seed = Annotated[int, typer.Option(help="Everything random follows from it.")]
Split = Annotated[str, typer.Option(help="The personas that are measured: heldout, dev or train.")]


@app.command()
def train(
    role: Annotated[str | None, typer.Option(help="Who is simulated: patient, student or chat_partner.")] = None,
    simulator: Annotated[str | None, typer.Option(help="The model that learns: tiny or hf:<folder or hub id>.")] = None,
    judge: Annotated[str | None, typer.Option(help="The judge that pays and measures: oracle.")] = None,
    rewards: Annotated[str | None, typer.Option(help="Such as prompt_to_line=1,line_to_line=0.5.")] = None,
    algorithm: Annotated[str | None, typer.Option(help="ppo or a2c.")] = None,
    seed: Annotated[int | None, typer.Option(help="Everything random follows from it.")] = None,
    tokens: Annotated[int | None, typer.Option(help="The learner's tokens in all.")] = None,
    lines: Annotated[int | None, typer.Option(help="The trained length: the simulator's lines in a dialogue.")] = None,
    line_gamma: Annotated[float | None, typer.Option(help="Discount from a line to the next.")] = None,
    kl_weight: Annotated[float | None, typer.Option(help="Price of a nat away from the untrained model.")] = None,
    personas: Annotated[str | None, typer.Option(help="bundled, or a file of personas.")] = None,
    split: Annotated[str | None, typer.Option(help="Measured personas: heldout, or dev while tuning.")] = None,
    dialogues: Annotated[int | None, typer.Option(help="Measured dialogues of the trained length.")] = None,
    long_dialogues: Annotated[int | None, typer.Option(help="The same at three times that length.")] = None,
    threads: Annotated[int | None, typer.Option(help="Torch's threads; 0 is torch's choice.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder; new or empty.")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file with any of these settings.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, print the plan, stop.")] = False,
) -> None:
    """Train a simulator and print how far its drift fell on people it has not met."""
    from persona_env.learning.settings import Settings, parse_rewards, read_config

    given = {name: value for name, value in locals().items() if name in Settings.__dataclass_fields__}
    values: dict[str, Any] = read_config(config) if config else {}
    values |= {name: value for name, value in given.items() if value is not None}
    if rewards is not None:
        values["rewards"] = parse_rewards(rewards)
    settings = Settings(**values)

    from persona_env.report.training import run_training

    raise typer.Exit(run_training(settings, out, dry_run=dry_run))


@app.command()
def bench(
    simulators: Annotated[list[str], typer.Argument(help="Specs: tiny, scripted, hf:<folder or hub id>.")],
    role: Role = "patient",
    judge: JudgeSpec = "oracle",
    seed: Seed = 0,
    split: Split = "heldout",
    lines: Annotated[int, typer.Option(help="The simulator's lines in a dialogue.")] = 8,
    dialogues: Annotated[int, typer.Option(help="Dialogues with each simulator.")] = 128,
    personas: Annotated[str, typer.Option(help="bundled, or a file of personas.")] = "bundled",
    out: Annotated[Path | None, typer.Option(help="A folder for the dialogues and the figures.")] = None,
) -> None:
    """Measure simulators side by side on the same people, seeds and questions."""
    from persona_env.bench.cases import Cases
    from persona_env.report.benchmark import run_benchmark

    cases = Cases(role=role, personas=personas, split=split, dialogues=dialogues, lines=lines, seed=seed)
    run_benchmark(simulators, cases, judge, out)


@app.command()
def audit(
    logs: Annotated[list[Path], typer.Argument(help="Log files: ours (JSONL) or the released ones (JSON).")],
    json_out: Annotated[Path | None, typer.Option("--json", help="Write the figures here too.")] = None,
) -> None:
    """Recompute recorded consistency scores and list those that disagree with their own raw replies."""
    from persona_env.report.audit import print_audit

    print_audit(logs, json_out)


@app.command()
def play(
    simulator: Simulator = "tiny",
    role: Role = "patient",
    judge: JudgeSpec = "oracle",
    seed: Seed = 0,
    split: Split = "heldout",
) -> None:
    """Talk to a simulator in the terminal and see each of its lines judged."""
    from persona_env.report.play import talk

    talk(simulator, role=role, judge=judge, seed=seed, split=split)


def main() -> None:
    """Runs the command line; bad input ends with one line on standard error and exit code 2."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        app()
    except KeyboardInterrupt:
        sys.stderr.write("persona-env: interrupted\n")
        sys.exit(130)
    except (ValueError, OSError) as error:
        if os.environ.get("PERSONA_ENV_DEBUG"):
            raise
        sys.stderr.write(f"persona-env: {' '.join(str(error).split())}\n")
        sys.exit(2)
