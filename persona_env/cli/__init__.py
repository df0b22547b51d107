"""The command line `persona-env`, the same as `python -m persona_env`: one module for each command."""

from __future__ import annotations

import io
import os
import re
import sys
import traceback
import warnings
from typing import Any

import typer
from typer.core import TyperGroup

from persona_env.cli import audit, bench, judge, play, report, train
from persona_env.errors import InputError, RunEnded, printable

__all__ = ["app", "main"]

_PASSWORD = re.compile(r"://\S*@(?![A-Za-z][A-Za-z0-9+.-]*://)")


class _Interrupted(Exception):  # noqa: N818 - reads better where it is caught
    """Ctrl-C inside a command."""


class _Commands(TyperGroup):
    """The commands; lets `main` handle Ctrl-C, which typer would turn into a silent exit."""

    def invoke(self, ctx: Any) -> Any:
        """Runs a command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            raise _Interrupted(str(interrupt)) from None


app = typer.Typer(
    cls=_Commands,
    name="persona-env",
    help="Measure the persona drift of user simulators, train it away, and talk to them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.command()(train.train)
app.command()(bench.bench)
app.command()(audit.audit)
app.command()(play.play)
app.command()(report.report)
app.add_typer(judge.judge_app, name="judge")


def main() -> None:
    """Runs the command line.

    Exit codes: 2 and one line on standard error for bad input, those of `RunEnded`, 130 after Ctrl-C, 70 and a
    traceback for a bug, and 1 if nobody reads standard output any more. Characters that the terminal's encoding
    lacks are escaped.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    warnings.formatwarning = lambda message, *place, **more: f"persona-env: {printable(str(message))}\n"
    try:
        _check_arguments()
        app()
    except (KeyboardInterrupt, _Interrupted) as interrupt:
        hint = f"; {printable(str(interrupt))}" if str(interrupt) else ""
        sys.stderr.write(f"persona-env: interrupted{hint}\n")
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
    """Raises if an argument holds control characters, which would act on the terminal when an error shows it."""
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
