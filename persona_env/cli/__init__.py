"""The command line `persona-env`, the same as `python -m persona_env`: one module for each command."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from persona_env.cli import audit, bench, judge, play, report, train
from persona_env.errors import OUT_OF_MEMORY, CannotWrite, InputError, RunEnded, Terminated, interruptible, printable

__all__ = ["app", "main"]

_OUTPUT_ERRORS = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_PASSWORD = re.compile(r"://\S*@(?![A-Za-z][A-Za-z0-9+.-]*://)")


class _Interrupted(Exception):  # noqa: N818 - reads better where it is caught
    """Ctrl-C or SIGTERM inside a command, which typer would turn into a silent exit."""


class _Commands(TyperGroup):
    """The commands; lets `main` handle interrupts."""

    def invoke(self, ctx: Any) -> Any:
        """Runs a command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            raise _Interrupted from interrupt


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

    Exit codes: 2 and one line on standard error for bad input, those of `RunEnded`, 130 after Ctrl-C and 143 after
    SIGTERM, 71 without enough memory, 70 and a traceback for a bug, and 1 if standard output cannot be written; where
    nobody reads it any more, that is not told. Characters that the terminal's encoding lacks are escaped.
    """
    sys.stdout, sys.stderr = (stream or open(os.devnull, "w") for stream in (sys.stdout, sys.stderr))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    warnings.formatwarning = lambda message, *place, **more: f"persona-env: {printable(str(message))}\n"
    with interruptible() as signals:
        code = _run(signals)
    sys.exit(code if _is_written() else code or 1)


def _run(signals: Sequence[int]) -> int:
    """Runs the command that the arguments name and returns the exit code; tells on standard error what ended it."""
    try:
        _check_arguments()
        app()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else bool(ended.code)
    except (KeyboardInterrupt, _Interrupted) as interrupt:
        return _tell_interrupt(interrupt.__cause__ or interrupt)
    except RunEnded as ended:
        _tell(_line(ended))
        return ended.exit_code
    except InputError as error:
        if os.environ.get("PERSONA_ENV_DEBUG"):
            raise
        _tell(_line(error))
        return error.exit_code
    except Exception as error:
        return _tell_failure(error, is_interrupted=bool(signals))
    return 0


def _tell_failure(error: Exception, *, is_interrupted: bool) -> int:
    """Tells what is neither bad input nor an end in order, and returns its exit code; a bug is shown whole."""
    if is_interrupted:  # what was being imported made another error of it
        return _tell_interrupt(KeyboardInterrupt())
    if _lacks_memory(error):
        hint = str(error) if str(error).startswith("go on") else "make the batch, the model or the dialogues smaller"
        _tell(f"Expected enough memory, got none: {printable(hint)}.")
        return OUT_OF_MEMORY
    if isinstance(error, OSError) and (isinstance(error, CannotWrite) or error.filename is not None):
        _tell(_line(error))
        return CannotWrite.exit_code
    if isinstance(error, OSError) and error.errno in _OUTPUT_ERRORS:  # our own files tell theirs as `CannotWrite`
        _give_up_output(error)
        return 1
    traceback.print_exception(error)
    return 70


def _lacks_memory(error: Exception) -> bool:
    """Returns whether there was not enough memory, of the machine or of a GPU (torch's errors are RuntimeErrors)."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return bool(kinds & {"MemoryError", "OutOfMemoryError"}) or "can't allocate memory" in str(error)


def _tell_interrupt(interrupt: BaseException) -> int:
    _tell(f"interrupted{f'; {printable(str(interrupt))}' if str(interrupt) else ''}")
    return interrupt.exit_code if isinstance(interrupt, Terminated) else 130


def _tell(line: str) -> None:
    with contextlib.suppress(OSError):
        sys.stderr.write(f"persona-env: {line}\n")


def _is_written() -> bool:
    """Returns whether all that standard output still holds could be written."""
    try:
        sys.stdout.flush()
    except OSError as error:
        _give_up_output(error)
        return False
    return True


def _give_up_output(error: OSError) -> None:
    """Tells that standard output cannot be written, and keeps Python from trying again as it ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.errno != errno.EPIPE:
        _tell(f"Expected standard output that can be written, got {error.strerror}: make room, or name a file.")


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
