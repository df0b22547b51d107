"""JSON files, read strictly and written whole or not at all."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

from persona_env.logs.nodes import LogError, Node, shown

__all__ = [
    "MAX_LINE",
    "array_nodes",
    "first_byte",
    "json_text",
    "line_nodes",
    "write_lines",
]

MAX_LINE = 64 << 20
"""Bytes of one JSONL line."""

_SPACE = re.compile(r"[ \t\n\r]*")
# JSON lets these stand in a text as they are, but str.splitlines and many tools end a line at them.
_LINE_ENDS = {"\u0085": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"}


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
        with open(path, "rb") as file:
            head = file.read(1 << 16).lstrip(b" \t\r\n")
    except OSError as error:
        what = "a folder" if Path(path).is_dir() else str(error.strerror or error)
        raise LogError(f"Expected a file at {path}, got {what}: name a log or persona file.") from None
    if not head:
        raise LogError(f"Expected JSON at {path} line 1, got an empty file: name another, or write it again.")
    if head.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise LogError(f"Expected UTF-8 at {path} line 1, got a byte order mark: save it as UTF-8 without one.")
    return head[:1]


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
    text = _decoded(Path(path).read_bytes(), str(path))
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
    with open(path, "rb") as file:
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
    for end, escape in _LINE_ENDS.items():
        text = text.replace(end, escape)
    return text


def write_lines(path: str | Path, lines: Iterable[str]) -> int:
    """Writes lines to a file, whole or not at all (another name first, then renamed), and returns how many.

    Raises:
        LogError: If the file cannot be written.
    """
    target = Path(path)
    draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    count = 0
    try:
        with open(draft, "w", encoding="utf-8", newline="\n") as file:
            for line in lines:
                file.write(f"{line}\n")
                count += 1
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    except OSError as error:
        raise LogError(f"Expected a file that can be written, got {path} ({error.strerror}): name another.") from None
    finally:
        draft.unlink(missing_ok=True)
    return count
