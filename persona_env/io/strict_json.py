"""JSON files, read strictly and written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NoReturn, TextIO

from persona_env.errors import shown
from persona_env.io.nodes import LogError, Node

__all__ = [
    "MAX_LINE",
    "array_nodes",
    "check_target",
    "first_byte",
    "json_text",
    "line_nodes",
    "open_draft",
    "open_file",
    "unseen_escaped",
    "write_lines",
]

MAX_LINE = 64 << 20
"""Bytes of one JSONL line."""

_SPACE = re.compile(r"[ \t\n\r]*")
# JSON lets these stand in a text as they are: line ends of many tools, controls and bidi marks of terminals, and
# halves of surrogate pairs, which UTF-8 cannot hold.
_UNSEEN = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class _RefusedError(ValueError):
    """What JSON allows, or Python's reader lets pass, and a log must not hold."""


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        seen = set[str]()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise _RefusedError(f"the key {shown(twice)} twice in one object")
    return fields


def _constant(name: str) -> NoReturn:
    raise _RefusedError(f"the number {name}")


def _float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise _RefusedError("a number too large for a float")
    return number


def _int(digits: str) -> int:
    if len(digits) > 18:
        raise _RefusedError("a whole number of more than 18 digits")
    return int(digits)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_int)


def first_byte(path: str | Path) -> bytes:
    """Returns the first byte of a file that is no blank.

    Raises:
        LogError: If there is none: no such file, a folder, nothing in it; or it opens with a byte order mark.
    """
    try:
        with open_file(path) as file:
            head = file.read(1 << 16).lstrip(b" \t\r\n")
    except OSError as error:
        raise LogError(f"Expected a file at {path}, got {error.strerror or error}: name another.") from None
    if not head:
        raise LogError(f"Expected JSON at {path} line 1, got an empty file: name another, or write it again.")
    if head.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise LogError(f"Expected UTF-8 at {path} line 1, got a byte order mark: save it as UTF-8 without one.")
    return head[:1]


def open_file(path: str | Path, hint: str = "name a log or persona file") -> BinaryIO:
    """Opens a file to read it. A pipe or a device is refused: what reads them may wait, or read, without end.

    Raises:
        LogError: If there is no such file, or it is none.
    """
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISREG(mode):
            return open(path, "rb")
        what = "a folder" if stat.S_ISDIR(mode) else "a pipe or device"
    except OSError as error:
        what = error.strerror or str(error)
    except ValueError:
        what = "a name that no file can have"
    raise LogError(f"Expected a file at {path}, got {what}: {hint}.")


def _decoded(raw: bytes, place: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LogError(f"Expected UTF-8 at {place}, got the byte {raw[error.start]:#04x} at {error.start}: "
                       "save it as UTF-8.") from None  # fmt: skip


def _value(text: str, start: int, path: str | Path, line: int, inside: str) -> tuple[object, int]:
    """Returns the JSON value at `start` and where it ends; `line` is the number of the text's first line."""
    try:
        return _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        place = f"{path} line {line + error.lineno - 1} column {error.colno}"
        end = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated")
        got = "a text that is cut off" if end else error.msg
        raise LogError(f"Expected JSON at {place}, got {got}: write the file again.") from None
    except RecursionError:
        raise LogError(f"Expected JSON at {path}{inside}, got one nested too deep: write it again.") from None
    except _RefusedError as error:
        raise LogError(f"Expected plain JSON at {path}{inside}, got {error}: correct the file.") from None


def array_nodes(path: str | Path, noun: str) -> Iterator[Node]:
    """Yields the items of a file that is one JSON array, decoded one at a time.

    Args:
        path: The file.
        noun: What an item is called in errors.
    """
    with open_file(path) as file:
        text = _decoded(file.read(), str(path))
    place, number = _skip(text, _skip(text, 0) + 1), 0
    if text[place : place + 1] == "]":
        _end(text, place + 1, path)
        return
    while True:
        value, end = _value(text, place, path, 1, f", {noun} {number}")
        yield Node(value, f"{path}, {noun} {number}")
        place, number = _skip(text, end), number + 1
        if text[place : place + 1] != ",":
            break
        place = _skip(text, place + 1)
    if text[place : place + 1] != "]":
        at = json.JSONDecodeError("", text, place)
        got = "a text that is cut off" if place == len(text) else shown(text[place])
        raise LogError(f"Expected , or ] at {path} line {at.lineno} column {at.colno}, got {got}: write it again.")
    _end(text, place + 1, path)


def _skip(text: str, place: int) -> int:
    match = _SPACE.match(text, place)
    return match.end() if match else place


def _end(text: str, place: int, path: str | Path) -> None:
    rest = _skip(text, place)
    if rest < len(text):
        at = json.JSONDecodeError("", text, rest)
        raise LogError(f"Expected nothing more at {path} line {at.lineno} column {at.colno}, "
                       f"got {shown(text[rest : rest + 20])}: correct the file.")  # fmt: skip


def line_nodes(path: str | Path) -> Iterator[Node]:
    """Yields the values of a JSONL file, one line at a time; blank lines are skipped."""
    with open_file(path) as file:
        number = 0
        while raw := file.readline(MAX_LINE + 1):
            number += 1
            if len(raw) > MAX_LINE:
                raise LogError(
                    f"Expected lines of at most {MAX_LINE} bytes at {path} line {number}, got more: split it."
                )
            line = _decoded(raw, f"{path} line {number}").rstrip(" \t\r\n")
            if line:
                value, end = _value(line, _skip(line, 0), path, number, f" line {number}")
                if end < len(line):
                    raise LogError(f"Expected one JSON object at {path} line {number}, "
                                   f"got more at column {_skip(line, end) + 1}: give each its own line.")  # fmt: skip
                yield Node(value, f"{path} line {number}")


def json_text(value: object) -> str:
    """Returns a value as one line of JSON.

    Raises:
        LogError: If it holds nan, an infinite number, or half of a surrogate pair.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise LogError("Expected texts that UTF-8 can hold, got half of a surrogate pair: clean them.") from None
    except ValueError as error:
        raise LogError(f"Expected finite numbers to write, got {error}: leave them out.") from None
    return unseen_escaped(text)


def unseen_escaped(text: str) -> str:
    r"""Returns JSON in which what ends a line, steers a terminal or UTF-8 cannot hold is escaped; it means the same.

    >>> print(unseen_escaped('["\u202e", "\u00e9"]'))
    ["\u202e", "é"]
    """
    return text if text.isascii() and "\x7f" not in text else _UNSEEN.sub(lambda m: f"\\u{ord(m[0]):04x}", text)


def check_target(path: str | Path) -> Path:
    """Returns the path of a file that is to be written.

    Raises:
        LogError: If something else than a file is there, also a link: what it points at would stay as it was, or
            be another's.
    """
    target, what = Path(path), ""
    try:
        mode = os.lstat(target).st_mode
        if stat.S_ISLNK(mode):
            what = "a link: name the file that it points to"
        elif not stat.S_ISREG(mode):
            what = f"{'a folder' if stat.S_ISDIR(mode) else 'a pipe or device'}: name another"
    except FileNotFoundError:
        what = "" if target.name else "no name: give one"
    except OSError as error:
        what = f"{error.strerror or error}: name another"
    except ValueError:
        what = "a name that no file can have: name another"
    if what:
        raise LogError(f"Expected a file that can be written at {path}, got {what}.")
    return target


def open_draft(draft: Path) -> TextIO:
    """Opens a new file under a name of ours; what stood there is removed, and where it is a link, not followed.

    Raises:
        OSError: If that fails.
    """
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    return open(handle, "w", encoding="utf-8", newline="\n")


def write_lines(path: str | Path, lines: Iterable[str]) -> int:
    """Writes lines to a file, whole or not at all (another name first, then renamed), and returns how many.

    Raises:
        LogError: If the file cannot be written.
    """
    target = check_target(path)
    draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    count = 0
    try:
        with open_draft(draft) as file:
            for line in lines:
                file.write(f"{line}\n")
                count += 1
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    except OSError as error:
        raise LogError(f"Expected a file that can be written, got {path} ({error.strerror}): name another.") from None
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
    return count
