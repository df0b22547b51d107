"""Tables (CSV, with any of the usual separators) and plain texts, in UTF-8."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path

from persona_env.io.json_files import FileError, first_byte, open_file

__all__ = ["table_rows", "text_lines"]

_SEPARATORS = ",;\t|"


def table_rows(path: str | Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields the rows of a table by the names of its columns, each after its place.

    The first line names the columns; those without a name are left out. The separator is the one that stands there
    most often of comma, semicolon, tab and bar.
    """
    first_byte(path)
    with open_file(path) as file:
        text = TextIOWrapper(file, "utf-8", newline="")
        reader, names = csv.reader(text), list[str]()
        try:
            header = text.readline()
            found = max(_SEPARATORS, key=header.count)
            separator = found if found in header else "\x1f"  # one column, whose texts may hold any of them
            reader = csv.reader(itertools.chain([header], text), delimiter=separator, strict=True)
            names = [name.strip() for name in next(reader)]
            for number, row in enumerate(row for row in reader if row):  # without blank lines
                place = f"{path} row {number}"
                if len(row) != len(names):
                    raise FileError(f"Expected {len(names)} fields at {place}, got {len(row)}: correct the file.")
                yield place, {name: value for name, value in zip(names, row, strict=True) if name}
        except (csv.Error, UnicodeDecodeError) as error:
            place = f"{path} line {reader.line_num}"
            raise FileError(f"Expected CSV at {place}, got {error}: save it as CSV in UTF-8.") from None


def text_lines(path: str | Path) -> list[str]:
    """Returns the lines of a text, without the white space around them."""
    with open_file(path) as file:
        data = file.read()
    try:
        return [line.strip() for line in data.decode("utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise FileError(
            f"Expected text in UTF-8 in {path}, got {error.reason} at byte {error.start}: save it so."
        ) from None
