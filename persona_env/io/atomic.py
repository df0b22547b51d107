"""Files that are written whole or not at all: under another name first, then renamed."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Generator, Iterable
from os.path import expanduser
from pathlib import Path
from typing import TextIO

import msgspec

from persona_env.errors import CannotWrite
from persona_env.io.json_files import FileError

__all__ = ["check_target", "json_line", "record_fields", "write_json", "write_jsonl", "write_text"]


def write_text(path: str | Path, text: str) -> Path:
    """Writes a text file and returns its path; if that fails (`CannotWrite`), what stood there stays."""
    with _replacing(path) as file:
        file.write(text)
    return Path(path)


def write_json(path: str | Path, value: object) -> Path:
    """Writes an indented JSON file and returns its path; see `write_text` and `json_line`."""
    return write_text(path, json_line(value, indent=2) + "\n")


def write_jsonl(path: str | Path, rows: Iterable[object]) -> int:
    """Writes a JSONL file, row by row, and returns how many; what stood there stays if there is none, or one raises."""
    count = 0
    with _replacing(path) as file:
        for row in rows:
            file.write(f"{json_line(row)}\n")
            count += 1
        if not count:
            raise FileError(f"Expected rows to write to {path}, got none: a file holds at least one.")
    return count


def json_line(value: object, indent: int | None = None) -> str:
    """Returns a value as JSON, by default in one line; dataclasses lose the fields that hold their default.

    What acts on a terminal is escaped: control, bidi and format characters. What JSON or UTF-8 cannot hold is a
    `FileError`.

    >>> from persona_env.persona import Fact
    >>> json_line([Fact("sleep", "four")])
    '[{"key": "sleep", "value": "four"}]'
    """
    try:
        text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False, default=record_fields)
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise FileError("Expected texts that UTF-8 can hold, got half of a surrogate pair: clean them.") from None
    except ValueError as error:
        raise FileError(f"Expected values that JSON can hold, got an error ({error}): leave them out.") from None
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def record_fields(record: object) -> object:
    """Returns a dataclass as an object without the fields that hold their default, another record as msgspec does."""
    if not dataclasses.is_dataclass(record) or isinstance(record, type):
        return msgspec.to_builtins(record)
    fields: dict[str, object] = {}
    for item in dataclasses.fields(record):
        value = getattr(record, item.name)
        default = item.default if item.default_factory is dataclasses.MISSING else item.default_factory()
        if value != default:
            fields[item.name] = value
    return fields


def check_target(path: str | Path) -> Path:
    """Returns the path of a file that is to be written, checked before the work that fills it begins."""
    target = Path(expanduser(path))
    if not (target.name and os.path.isdir(target.parent)):
        raise FileError(f"Expected a file that can be written at {path}, got one in no folder: name another.")
    if os.path.lexists(target) and not os.path.isfile(target):
        raise FileError(f"Expected a file that can be written at {path}, got something else there: name another.")
    return target


@contextlib.contextmanager
def _replacing(path: str | Path) -> Generator[TextIO]:
    """Opens a draft in the same folder; it replaces the file when the block ends without an error."""
    target = Path(expanduser(path))
    draft = target.parent / f".{target.name}.{os.getpid()}.tmp"
    if "\0" in str(target):
        raise CannotWrite(target, "a name with a null character")
    try:
        with open(draft, "w", encoding="utf-8", newline="\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    except OSError as error:
        raise CannotWrite(target, error.strerror or str(error)) from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
