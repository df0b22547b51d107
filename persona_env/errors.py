"""What ends a run or a command, be it exception or signal, with its exit code; and how messages quote others' words."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = [
    "OUT_OF_MEMORY",
    "BudgetSpent",
    "CannotWrite",
    "InputError",
    "JudgeUnreliable",
    "RunEnded",
    "Terminated",
    "during_imports",
    "interruptible",
    "is_command",
    "printable",
    "shown",
    "shown_spec",
]

OUT_OF_MEMORY = 71
"""Exit code where there is not enough memory."""

_PASSWORD = re.compile(r"://.*@(?![A-Za-z][A-Za-z0-9+.-]*://)", re.DOTALL)
_SENT_ALONG = re.compile(r"((?:header|query)=[^&:=]*[:=])[^&]*")
_LONGEST_SPEC = 200
_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
_NAMES = ("persona-env", "persona-env.exe", "persona-env-script.py")


class InputError(ValueError):
    """Something that was given cannot be used: one line, "Expected X, got Y: do Z"; exit code 2.

    Any other `ValueError` is a bug. What cannot be printed is shown escaped.
    """

    exit_code = 2

    def __init__(self, message: str):
        super().__init__(message if message.isprintable() else printable(message))


class CannotWrite(OSError):  # noqa: N818 - reads better where it is caught
    """A file could not be written, as on a full disk (`why`); what stood there stands there still."""

    exit_code = 2

    def __init__(self, path: object, why: str, way_out: str = "make room, or name another"):
        self.why = why
        super().__init__(printable(f"Expected a file that can be written at {path}, got {why}: {way_out}."))


class RunEnded(Exception):  # noqa: N818 - an end in order, not an error of the program
    """A run stops in order: what it has reached is saved, and it can be resumed."""

    exit_code = 1


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a run as Ctrl-C does."""

    exit_code = 143


class JudgeUnreliable(RunEnded):
    """The judge fails queries with known answers, or gives no answer that can be read."""

    exit_code = 77


class BudgetSpent(RunEnded):
    """The next request would cost more than was allowed."""

    exit_code = 76


def printable(text: str) -> str:
    r"""Returns a text in which what cannot be printed is escaped: control, bidi and format characters.

    >>> printable("a\x1b[2Jé\u202e")
    'a\\x1b[2Jé\\u202e'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def shown(value: object) -> str:
    """Returns a value as an error message quotes it: one short line of ASCII."""
    try:
        text = ascii(value)
    except RecursionError:
        return f"a {type(value).__name__} nested too deep"
    except ValueError:  # Python spells no whole number of more than 4300 digits
        return f"a {type(value).__name__} too large to be shown"
    return text if len(text) <= 40 else f"{text[:36]}...'"


def shown_spec(spec: str) -> str:
    """Returns a spec as an error message quotes it: short, printable, with no password and no header.

    >>> shown_spec("openai:m@http://ann:secret@127.0.0.1:8000/v1")
    'openai:m@http://***@127.0.0.1:8000/v1'
    """
    text = printable(_SENT_ALONG.sub(r"\1***", _PASSWORD.sub("://***@", spec)))
    return text if len(text) <= _LONGEST_SPEC else f"{text[: _LONGEST_SPEC - 3]}..."


def is_command() -> bool:
    """Returns whether this process is the command line, and not a program that imports the package."""
    if sys.argv[:1] == ["-m"]:  # Python is still looking for the module
        return "persona_env" in sys.orig_argv[sys.orig_argv.index("-m") + 1 :][:1]
    return os.path.basename(sys.argv[0] if sys.argv else "") in _NAMES


def during_imports() -> None:
    """Ends the process at once: nothing is begun, and an exception would be a traceback of whatever is imported."""
    _handle(_end_at_once)


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """Raises KeyboardInterrupt for Ctrl-C and `Terminated` for SIGTERM while it lasts; yields the signals that came."""
    came = list[int]()

    def interrupt(number: int, frame: FrameType | None) -> None:
        came.append(number)
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    before = _handle(interrupt)
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _handle(handler: signal._HANDLER) -> dict[signal.Signals, signal._HANDLER]:
    """Handles both signals, but those that whoever started the process ignores; returns what handled them before."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    found: dict[signal.Signals, signal._HANDLER] = {}
    for number in _CODES:
        if (before := signal.getsignal(number)) not in (signal.SIG_IGN, None):
            found[number] = before
            signal.signal(number, handler)
    return found


def _end_at_once(number: int, frame: FrameType | None) -> None:
    os.write(2, b"persona-env: interrupted\n")
    os._exit(_CODES[signal.Signals(number)])
