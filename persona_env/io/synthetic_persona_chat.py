"""Synthetic-Persona-Chat: conversations of two personas, as CSV.

The columns are the persona of user 1, that of user 2 (a sentence a line) and the conversation, in which each
line opens with `User 1:` or `User 2:`.

Source: Jandaghi et al., "Faithful Persona-based Conversational Dataset Generation with Large Language
Models" (2023), arXiv 2312.10007.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import NamedTuple

from persona_env.io.json_files import MAX_TEXT, FileError, first_byte, open_file
from persona_env.io.records import LoggedDialogue, LoggedMessage, LoggedSpeaker
from persona_env.persona import Persona

__all__ = ["COLUMNS", "ChatRow", "load_dialogues", "read_chats"]

COLUMNS = ("user 1 personas", "user 2 personas", "Best Generated Conversation")

_SPEAKER = re.compile(r"(?:\* ?\* ?)?User ([12]):(?: ?\* ?\*)? ?(.*)")
_BREAK = re.compile(r"[*\s]*")


class ChatRow(NamedTuple):
    """One row of the file; `place` is the file and row, for messages."""

    number: int
    personas: tuple[Persona, Persona]
    conversation: str
    place: str


def read_chats(path: str | Path) -> Iterator[ChatRow]:
    """Yields the rows of a file, one at a time; persona ids are `<file>/<number>/1` and `/2`.

    Raises:
        FileError: If the file is no such CSV, or a field is empty or too long; one line that names the row.
    """
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
        stem = f"{Path(path).stem}/{number:04d}"
        one, two = (Persona(f"{stem}/{i}", "chat_partner", "", row[i - 1]) for i in (1, 2))
        yield ChatRow(number, (one, two), row[2], place)
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


def load_dialogues(path: str | Path, unread: list[FileError] | None = None) -> list[LoggedDialogue]:
    """Returns the conversations of a file as logged dialogues: user 1 is P1, user 2 is P2.

    A line without a speaker belongs to the line before it; scene breaks of stars alone are left out. Conversations
    that name no speaker (the released test set has two) are left out where a list takes their errors.

    Raises:
        FileError: If the file is no such CSV, holds no conversation that can be read, or, without
            `unread`, one that cannot.
    """
    found = list[LoggedDialogue]()
    for row in read_chats(path):
        try:
            messages = tuple(_messages(row))
        except FileError as error:
            if unread is None:
                raise
            unread.append(error)
            continue
        speakers = (LoggedSpeaker("User 1", row.personas[0]), LoggedSpeaker("User 2", row.personas[1]))
        name = f"{Path(path).stem}/{row.number:04d}"
        found.append(LoggedDialogue("chat_partner", speakers, messages, id=name, source=str(path), number=row.number))
    if not found:
        raise FileError(f"Expected conversations in {path}, got none that can be read: name another file.")
    return found


def _messages(row: ChatRow) -> Iterator[LoggedMessage]:
    spoken = list[tuple[str, list[str]]]()
    for line in row.conversation.splitlines():
        match = _SPEAKER.fullmatch(line)
        if match:
            spoken.append((match.group(1), [match.group(2)]))
        elif not _BREAK.fullmatch(line):
            if not spoken:
                raise FileError(f"Expected 'User 1:' or 'User 2:' first at {row.place}, got {line!r:.40}: correct it.")
            spoken[-1][1].append(line)
    if not spoken:
        raise FileError(f"Expected a conversation at {row.place}, got an empty text: fill it in.")
    for speaker, lines in spoken:
        yield LoggedMessage("P1" if speaker == "1" else "P2", "\n".join(lines).strip())
