"""Files that are written whole or not at all: under another name first, then renamed."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any, TextIO

import msgspec

from persona_env.errors import CannotWrite
from persona_env.io.json_files import FileError

__all__ = ["check_target", "json_line", "record_fields", "write_json", "write_jsonl", "write_text"]


def write_text(path: str | Path, text: str) -> Path:
    """Writes a text file and returns its path.

    Raises:
        CannotWrite: If that fails; what stood there stays.
    """
    with _replacing(Path(path)) as file:
        file.write(text)
    return Path(path)


def write_json(path: str | Path, value: object) -> Path:
    """Writes an indented JSON file and returns its path; records are written as by `json_line`.

    Raises:
        CannotWrite: If that fails; what stood there stays.
        FileError: If the value holds what `json_line` refuses.
    """
    return write_text(path, _json(value, indent=2) + "\n")


def write_jsonl(path: str | Path, rows: Iterable[object]) -> int:
    """Writes a JSONL file, row by row, and returns how many there are; see `write_json`.

    What stood there also stays if making a row raises.
    """
    count = 0
    with _replacing(Path(path)) as file:
        for row in rows:
            file.write(f"{json_line(row)}\n")
            count += 1
    return count


def json_line(value: object) -> str:
    """Returns a value as one line of JSON; dataclasses are written without the fields that hold their default.

    Raises:
        FileError: If it holds nan, an infinite number, or half of a surrogate pair.

    >>> from persona_env.persona import Fact
    >>> json_line([Fact("sleep", "four")])
    '[{"key": "sleep", "value": "four"}]'
    """
    return _json(value)


def _json(value: object, indent: int | None = None) -> str:
    try:
        text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False, default=record_fields)
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise FileError("Expected texts that UTF-8 can hold, got half of a surrogate pair: clean them.") from None
    except ValueError as error:
        raise FileError(f"Expected values that JSON can hold, got an error ({error}): leave them out.") from None
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    """Returns a character as JSON text that acts on no terminal: control, bidi and format characters are escaped."""
    return character if character.isprintable() or character == "\n" else json.dumps(character)[1:-1]


def record_fields(record: object) -> object:
    """Returns a dataclass as an object without the fields that hold their default, another record as msgspec does."""
    if dataclasses.is_dataclass(record):
        values = ((item, getattr(record, item.name)) for item in dataclasses.fields(record))
        return {item.name: value for item, value in values if value != _default(item)}
    return msgspec.to_builtins(record)


def _default(item: dataclasses.Field[Any]) -> object:
    return item.default if item.default_factory is dataclasses.MISSING else item.default_factory()


def check_target(path: str | Path) -> Path:
    """Returns the path of a file that is to be written, checked before the work that fills it begins.

    Raises:
        FileError: If there is no such folder, or something else than a file is there.
    """
    target = Path(path)
    if not (target.name and os.path.isdir(target.parent)):
        raise FileError(f"Expected a file that can be written at {path}, got one in no folder: name another.")
    if os.path.lexists(target) and not os.path.isfile(target):
        raise FileError(f"Expected a file that can be written at {path}, got something else there: name another.")
    return target


@contextlib.contextmanager
def _replacing(target: Path) -> Generator[TextIO]:
    """Opens a draft in the same folder; it replaces the target when the block ends without an error."""
    draft = target.parent / f".{target.name}.{os.getpid()}.tmp"
    try:
        with _opened(draft) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    except CannotWrite:
        raise
    except OSError as error:
        raise CannotWrite(target, error.strerror or str(error)) from error
    finally:
        with contextlib.suppress(OSError, ValueError):
            draft.unlink(missing_ok=True)


def _opened(draft: Path) -> TextIO:
    try:
        return open(draft, "w", encoding="utf-8", newline="\n")
    except ValueError as error:  # a name that no file can have
        raise OSError(str(error)) from None
