"""The command line: `persona-env train | bench | audit | play`, the same as `python -m persona_env`."""

from __future__ import annotations

import io
import os
import re
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from persona_env.errors import InputError, RunEnded, printable

__all__ = ["app", "main"]

_PASSWORD = re.compile(r"://\S*@(?![A-Za-z][A-Za-z0-9+.-]*://)")


class _Interrupted(Exception):  # noqa: N818 - reads better where it is caught
    """Ctrl-C inside a command."""


class _Commands(TyperGroup):
    """The commands; typer would end one at Ctrl-C without a word."""

    def invoke(self, ctx: Any) -> Any:
        """Runs a command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            raise _Interrupted(str(interrupt)) from None


app = typer.Typer(
    cls=_Commands,
    name="persona-env",
    help="Measure the drift of simulated people, train it away, and talk to them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Role = Annotated[str, typer.Option(help="Who is simulated: patient, student or chat_partner.")]
Simulator = Annotated[str, typer.Option(help="The simulator: tiny, scripted, hf:<folder or id>, openai:<model>@<url>.")]
JudgeSpec = Annotated[str, typer.Option("--judge", help="The judge: oracle, recorded:, hf:, openai: or ensemble:.")]
Seed = Annotated[int, typer.Option(help="Everything random follows from it.")]
Split = Annotated[str, typer.Option(help="The personas that are measured: heldout, dev or train.")]


@app.command()
def train(
    role: Annotated[str | None, typer.Option(help="Who is simulated: patient, student or chat_partner.")] = None,
    simulator: Annotated[str | None, typer.Option(help="The model that learns: tiny or hf:<folder or hub id>.")] = None,
    judge: Annotated[str | None, typer.Option(help="Who pays and measures: oracle, hf:, openai:, ensemble:.")] = None,
    task_agent: Annotated[str | None, typer.Option(help="The frozen other side: scripted, hf: or openai:.")] = None,
    rewards: Annotated[str | None, typer.Option(help="Such as prompt_to_line=1,line_to_line=0.5.")] = None,
    algorithm: Annotated[str | None, typer.Option(help="ppo or a2c.")] = None,
    seed: Annotated[int | None, typer.Option(help="Everything random follows from it.")] = None,
    tokens: Annotated[int | None, typer.Option(help="The learner's tokens in all.")] = None,
    lines: Annotated[int | None, typer.Option(help="The trained length: the simulator's lines in a dialogue.")] = None,
    line_gamma: Annotated[float | None, typer.Option(help="Discount from a line to the next.")] = None,
    kl_coef: Annotated[float | None, typer.Option(help="Price of a nat away from the untrained model.")] = None,
    personas: Annotated[str | None, typer.Option(help="bundled, natural, or a file.")] = None,
    split: Annotated[str | None, typer.Option(help="Measured personas: heldout, or dev while tuning.")] = None,
    dialogues: Annotated[int | None, typer.Option(help="Measured dialogues of the trained length.")] = None,
    extended_dialogues: Annotated[int | None, typer.Option(help="The same at three times that length.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Bound on a line's tokens.")] = None,
    threads: Annotated[int | None, typer.Option(help="Torch's threads; 0 is torch's choice.")] = None,
    lora_rank: Annotated[int | None, typer.Option(help="Train adapters of this rank, not the weights.")] = None,
    micro_batch: Annotated[int | None, typer.Option(help="Tokens of one pass of an update, at most.")] = None,
    gradient_checkpointing: Annotated[bool | None, typer.Option(help="Less memory, more time.")] = None,
    dtype: Annotated[str | None, typer.Option(help="auto, float32 or bfloat16.")] = None,
    load_in_4bit: Annotated[bool | None, typer.Option(help="On a GPU, with --lora-rank.")] = None,
    judge_prompts: Annotated[str | None, typer.Option(help="A folder of judge prompts instead of ours.")] = None,
    judge_cache: Annotated[str | None, typer.Option(help="A file of verdicts that runs share.")] = None,
    judge_budget: Annotated[str | None, typer.Option(help="Such as calls=5000,tokens=2e6; then it stops.")] = None,
    judge_calibration: Annotated[str | None, typer.Option(help="What judge calibrate wrote about this judge.")] = None,
    judge_patience: Annotated[float | None, typer.Option(help="Seconds to wait for a judge that is away.")] = None,
    checkpoint_every: Annotated[int | None, typer.Option(help="Rollouts from a checkpoint to the next.")] = None,
    max_invalid: Annotated[float | None, typer.Option(help="Share of unreadable verdicts that is allowed.")] = None,
    resume: Annotated[Path | None, typer.Option(help="The folder of a run that was cut off: go on with it.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder; new or empty.")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file with any of these settings.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, print the plan, stop.")] = False,
) -> None:
    """Train a simulator and print how far its drift fell on people it has not met."""
    from persona_env.runs.config import RunConfig, parse_rewards, read_config

    given = {name: value for name, value in locals().items() if name in RunConfig.__dataclass_fields__}
    values: dict[str, Any] = read_config(config) if config else {}
    values |= {name: value for name, value in given.items() if value is not None}
    if rewards is not None:
        values["rewards"] = parse_rewards(rewards)
    if resume is not None:
        if out is not None and out != resume:
            raise InputError(f"Expected --resume alone, got --out {out} too: a run goes on in its own folder.")
        from persona_env.report.training import resume_training

        raise typer.Exit(resume_training(resume, values, dry_run=dry_run))
    settings = RunConfig(**values)

    from persona_env.report.training import run_training

    raise typer.Exit(run_training(settings, out, dry_run=dry_run))


@app.command()
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
    judge_patience: Annotated[float, typer.Option(help="Seconds to wait for a judge that is away.")] = 600.0,
    out: Annotated[Path | None, typer.Option(help="A folder for the dialogues and the figures.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Instead of --out: the folder of one that was cut off.")] = None,
) -> None:
    """Measure simulators side by side on the same people, seeds and questions."""
    from persona_env.evaluation.eval_suite import EvalSuite
    from persona_env.report.benchmark import run_benchmark

    suite = EvalSuite(
        role=role, personas=personas, split=split, dialogues=dialogues, lines=lines, seed=seed, max_tokens=max_tokens
    )
    run_benchmark(simulators, suite, judge, resume or out, resume=resume is not None, patience=judge_patience)


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


judge_app = typer.Typer(help="Look into a judge before it pays rewards.", no_args_is_help=True)
app.add_typer(judge_app, name="judge")


@judge_app.command("calibrate")
def judge_calibrate(
    judge: Annotated[str, typer.Option(help="The judge, as in train.")],
    labels: Annotated[list[Path], typer.Option(help="Labels: a log, Dialogue NLI or labels.jsonl; again for more.")],
    judge_prompts: Annotated[Path | None, typer.Option(help="A folder with judge prompts; ours if none.")] = None,
    role: Annotated[list[str] | None, typer.Option(help="Only this role; again for more.")] = None,
    judge_cache: Annotated[Path | None, typer.Option(help="A file of verdicts, as in train.")] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many of each role, kind and label.")] = None,
    seed: Annotated[int, typer.Option(help="What the limit is drawn with.")] = 0,
    json_out: Annotated[Path | None, typer.Option("--json", help="Write the figures here too.")] = None,
    out: Annotated[Path | None, typer.Option(help="A new folder for calibration.json and every verdict.")] = None,
) -> None:
    """Hold a judge against labels, beside one that always says consistent, and say whether it may pay rewards."""
    from persona_env.report.calibration import run_calibration

    run_calibration(
        judge, labels, prompts=judge_prompts, cache=judge_cache, roles=role or (), limit=limit, seed=seed,
        json_out=json_out, out=out,
    )  # fmt: skip


def main() -> None:
    """Runs the command line; bad input ends with one line on standard error and exit code 2.

    After Ctrl-C the exit code is 130; it is 1, without a word, where nobody reads standard output any more.
    What an encoding cannot write is escaped.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        _check_arguments()
        app()
    except (KeyboardInterrupt, _Interrupted) as interrupt:
        way_on = f"; {printable(str(interrupt))}" if str(interrupt) else ""
        sys.stderr.write(f"persona-env: interrupted{way_on}\n")
        sys.exit(130)
    except RunEnded as ended:
        sys.stderr.write(f"persona-env: {_line(ended)}\n")
        sys.exit(ended.exit_code)
    except (InputError, OSError) as error:
        if os.environ.get("PERSONA_ENV_DEBUG"):
            raise
        sys.stderr.write(f"persona-env: {_line(error)}\n")
        sys.exit(2)
    except Exception:  # a bug: it is shown whole
        traceback.print_exc()
        sys.exit(70)


def _check_arguments() -> None:
    """Raises where an argument could steer the terminal when it is shown again, or is no text."""
    for argument in sys.argv[1:]:
        if not argument.isprintable():
            raise InputError(
                f"Expected arguments that can be printed, got {argument!a:.200}: rename the file, or quote it."
            )


def _line(error: Exception) -> str:
    """Returns an error as one line without control characters, and without a password that stands in a URL."""
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.filename is not None and not text.startswith("Expected"):
        text = f"Expected a file that can be used, got {error.filename} ({error.strerror}): name another."
    return printable(_PASSWORD.sub("://***@", text))
