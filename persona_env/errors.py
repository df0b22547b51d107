"""Every exception that ends a run or a command, with its exit code, and how messages quote what others wrote."""

from __future__ import annotations

import re

__all__ = [
    "BudgetSpent",
    "CannotWrite",
    "InputError",
    "JudgeUnreliable",
    "RunEnded",
    "printable",
    "shown",
    "shown_spec",
]

_PASSWORD = re.compile(r"://.*@(?![A-Za-z][A-Za-z0-9+.-]*://)", re.DOTALL)
_SENT_ALONG = re.compile(r"((?:header|query)=[^&:=]*[:=])[^&]*")
_LONGEST_SPEC = 200


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
