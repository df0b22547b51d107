"""JSON and JSONL files, decoded into typed records; what is wrong in them is a `FileError` that names the place."""

from __future__ import annotations

import codecs
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO, TypeVar, cast

import msgspec

from persona_env.errors import InputError, printable, shown

__all__ = [
    "MAX_LINE",
    "MAX_TEXT",
    "FileError",
    "Record",
    "Text",
    "Words",
    "converted",
    "first_byte",
    "json_array",
    "json_lines",
    "open_file",
    "read_json",
]

T = TypeVar("T")

MAX_LINE = 64 << 20
"""Bytes of one small JSON file."""

MAX_TEXT = 100_000
"""Characters of one text; the longest line, persona or reply seen in real logs has 4 000."""

Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
Words = Annotated[str, msgspec.Meta(max_length=MAX_TEXT, pattern=r"\S")]
"""A text that is not blank."""

_PLACE = re.compile(r"(.*?)(?: - at `(.*)`)?", re.DOTALL)
_LONGEST = 200
_ERRORS = (ValueError, msgspec.MsgspecError, RecursionError)  # msgspec's are ValueErrors in new versions only


class FileError(InputError):
    """A file that is not what it should be: one line that names the file and the place in it."""


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of what stands in files of our own formats: an unknown field is an error."""


def open_file(path: str | Path, hint: str = "name a log or persona file") -> BinaryIO:
    """Opens a file to read it, in UTF-8 and behind its byte order mark; `~` is the home folder.

    FileError for pipes and devices, as reading them may never end, or if there is none.
    """
    path = os.path.expanduser(path)
    try:
        if os.path.isfile(path):
            return _behind_mark(open(path, "rb"), path)
        what = "something else" if os.path.exists(path) else "No such file"
    except OSError as error:
        what = error.strerror or str(error)
    raise FileError(f"Expected a file at {path}, got {'a folder' if os.path.isdir(path) else what}: {hint}.")


def _behind_mark(file: BinaryIO, path: str) -> BinaryIO:
    head = file.read(3)
    if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        with file:
            data = head + file.read()
        try:
            return io.BytesIO(data.decode("utf-16").encode())
        except UnicodeDecodeError:
            raise FileError(f"Expected UTF-8 at {path}, got UTF-16 that cannot be read: save it as UTF-8.") from None
    if head != codecs.BOM_UTF8:
        file.seek(0)
    return file


def first_byte(path: str | Path) -> bytes:
    """Returns the first byte of a file that is no blank; FileError if there is none."""
    with open_file(path) as file:
        head = file.read(1 << 16).lstrip(b" \t\r\n")
    if not head:
        raise FileError(f"Expected JSON at {path} line 1, got an empty file: name another, or write it again.")
    return head[:1]


def json_lines(path: str | Path, kind: type[T]) -> Iterator[tuple[str, T]]:
    """Yields the records of a JSONL file, one line at a time, each after its place; blank lines are skipped."""
    decoder = msgspec.json.Decoder(kind)
    with open_file(path) as file:
        for number, line in enumerate(file, 1):
            if not line.isspace():
                place = f"{path} line {number}"
                yield place, _decoded(decoder, line, place)


def json_array(path: str | Path, kind: type[T], noun: str) -> Iterator[tuple[str, T]]:
    """Yields the records of a file that is one JSON array, each after its place, such as `a.json, item 3`."""
    decoder = msgspec.json.Decoder(kind)
    for number, item in enumerate(read_json(path, list[msgspec.Raw])):
        place = f"{path}, {noun} {number}"
        yield place, _decoded(decoder, item, place)


def read_json(path: str | Path, kind: type[T]) -> T:
    """Returns the record of a JSON file."""
    with open_file(path, "name another") as file:
        return _decoded(msgspec.json.Decoder(kind), file.read(), str(path))


def converted(value: object, kind: type[T], place: str) -> T:
    """Returns decoded JSON as a record; a field that the record does not have is an error."""
    try:
        found = msgspec.convert(value, kind)
    except _ERRORS as error:
        raise _located(error, place, kind) from None
    for unknown in _unknown_fields(value, msgspec.to_builtins(found)):
        raise FileError(f"Expected no field of that name at {place}, got {shown(unknown)[1:-1]}: correct the name.")
    return found


def _unknown_fields(given: Any, read: Any, path: str = "$") -> Iterator[str]:
    """Yields the fields of a JSON value that are not in the record that was made of it."""
    if isinstance(given, dict):
        fields = cast("dict[str, Any]", given)
        for name, value in fields.items():
            yield from _unknown_fields(value, read[name], f"{path}.{name}") if name in read else (f"{path}.{name}",)
    elif isinstance(given, list):
        for place, (one, other) in enumerate(zip(cast("list[Any]", given), read, strict=False)):
            yield from _unknown_fields(one, other, f"{path}[{place}]")


def _decoded(decoder: msgspec.json.Decoder[T], data: bytes | msgspec.Raw, place: str) -> T:
    try:
        return decoder.decode(data)
    except _ERRORS as error:
        raise _located(error, place, decoder.type) from None


def _located(error: Exception, place: str, kind: object) -> FileError:
    """Returns an error of decoding as one line with the file, the place and the path in the value."""
    if isinstance(error, RecursionError):
        return FileError(f"Expected JSON at {place}, got one nested too deep: write it again.")
    match = _PLACE.fullmatch(str(error))
    reason, path = match.groups() if match else (str(error), None)
    where = f"{place}, {path}" if path and path != "$" else place
    if isinstance(error.__cause__, InputError):  # raised by the record itself: it says what was expected
        return FileError(f"{printable(reason)[: _LONGEST * 4]} (at {where})")
    reason = printable(reason)[:_LONGEST]
    if not isinstance(error, msgspec.ValidationError):
        return FileError(f"Expected JSON at {where}, got an error ({reason}): write the file again.")
    if reason.startswith("Expected "):
        expected, _, got = reason.partition(", got ")
        return FileError(f"{expected} at {where}, got {got or 'another'}: correct the file.")
    if choices := reason.startswith("Invalid enum value") and _choices(msgspec.inspect.type_info(kind), str(path)):
        got = reason.removeprefix("Invalid enum value ")
        return FileError(f"Expected one of {', '.join(choices)} at {where}, got {got}: correct the file.")
    return FileError(f"Expected a valid value at {where}, got an error ({reason}): correct the file.")


def _choices(info: object, path: str) -> list[str]:
    """Returns the texts that the last field of a path may be, in whichever record of a type has it."""
    if isinstance(info, msgspec.inspect.Field) and path.endswith(f".{info.encode_name}"):
        kinds = info.type.types if isinstance(info.type, msgspec.inspect.UnionType) else (info.type,)
        return [str(value) for kind in kinds if isinstance(kind, msgspec.inspect.LiteralType) for value in kind.values]
    if isinstance(info, msgspec.Struct):
        info = msgspec.structs.astuple(info)
    parts = cast("tuple[object, ...]", info) if isinstance(info, tuple) else ()
    return next((found for part in parts if (found := _choices(part, path))), list[str]())
