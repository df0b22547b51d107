"""The personas of Synthetic-Persona-Chat: a CSV whose rows hold two (a sentence a line) and a conversation of theirs.

Source: Jandaghi et al., "Faithful Persona-based Conversational Dataset Generation with Large Language
Models" (2023), arXiv 2312.10007.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path

from persona_env.io.json_files import MAX_TEXT, FileError, first_byte, open_file
from persona_env.persona import Persona

__all__ = ["COLUMNS", "read_chats"]

COLUMNS = ("user 1 personas", "user 2 personas", "Best Generated Conversation")


def read_chats(path: str | Path) -> Iterator[Persona]:
    """Yields the personas of a file, two a row, with the ids `<file>/<row>/1` and `/2`; a `FileError` names the row."""
    first_byte(path)
    rows = _records(path)
    header = tuple(next(rows, ()))
    if header != COLUMNS:
        raise FileError(f"Expected the columns {', '.join(COLUMNS)} at {path} line 1, got {header!r:.60}: name one.")
    number = -1
    for number, row in enumerate(rows):
        place = f"{path} row {number}"
        if len(row) != len(COLUMNS):
            raise FileError(f"Expected {len(COLUMNS)} fields at {place}, got {len(row)}: correct the file.")
        for name, text in zip(COLUMNS[:2], row, strict=False):
            if not 0 < len(text.strip()) <= MAX_TEXT:
                raise FileError(f"Expected 1 to {MAX_TEXT} characters at {place}, {name}, got {len(text)}: correct it.")
        for user in (1, 2):
            yield Persona(f"{Path(path).stem}/{number:04d}/{user}", "chat_partner", "", row[user - 1])
    if number < 0:
        raise FileError(f"Expected conversations in {path}, got none: name another file.")


def _records(path: str | Path) -> Iterator[list[str]]:
    with open_file(path) as file:
        reader = csv.reader(TextIOWrapper(file, "utf-8", newline=""), strict=True)
        try:
            yield from reader
        except (csv.Error, UnicodeDecodeError) as error:
            place = f"{path} line {reader.line_num}"
            raise FileError(f"Expected CSV at {place}, got {error}: save it as CSV in UTF-8.") from None
