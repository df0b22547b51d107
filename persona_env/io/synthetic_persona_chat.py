"""Synthetic-Persona-Chat: conversations of two people with a persona each, as CSV.

The columns are the persona of user 1, that of user 2 (a sentence a line) and the conversation, in which each
line opens with `User 1:` or `User 2:`.

Source: Jandaghi et al., "Faithful Persona-based Conversational Dataset Generation with Large Language
Models" (2023), arXiv 2312.10007.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from persona_env.io.nodes import MAX_TEXT, LogError, Node
from persona_env.io.records import LoggedDialogue, LoggedMessage, LoggedSpeaker
from persona_env.io.strict_json import first_byte, open_file
from persona_env.persona import Persona

__all__ = ["COLUMNS", "ChatRow", "load_dialogues", "read_chats"]

COLUMNS = ("user 1 personas", "user 2 personas", "Best Generated Conversation")

_LONGEST = 4 * MAX_TEXT
_SPEAKER = re.compile(r"(?:\* ?\* ?)?User ([12]):(?: ?\* ?\*)? ?(.*)")
_BREAK = re.compile(r"[*\s]*")


@dataclass(frozen=True, slots=True)
class ChatRow:
    """One row of the file.

    Attributes:
        number: From 0, the header not counted.
        people: The two personas, of the role `chat_partner`; ids `<file>/<number>/1` and `/2`.
        conversation: As it stands there.
        place: The file and row, for messages.
    """

    number: int
    people: tuple[Persona, Persona]
    conversation: str
    place: str


def read_chats(path: str | Path) -> Iterator[ChatRow]:
    """Yields the rows of a file, one at a time.

    Raises:
        LogError: If the file is no such CSV, or a field is empty or too long; one line that names the row.
    """
    first_byte(path)
    rows = _records(path)
    header = next(rows, list[str]())
    if tuple(header) != COLUMNS:
        raise LogError(f"Expected the columns {', '.join(COLUMNS)} at {path} line 1, got {header!r:.60}: name another.")
    number = -1
    for number, row in enumerate(rows):
        place = f"{path} row {number}"
        if len(row) != len(COLUMNS):
            raise LogError(f"Expected {len(COLUMNS)} fields at {place}, got {len(row)}: correct the file.")
        texts = [Node(text, f"{place}, {name}") for text, name in zip(row, COLUMNS, strict=True)]
        stem = f"{Path(path).stem}/{number:04d}"
        people = [Persona(f"{stem}/{i + 1}", "chat_partner", "", texts[i].text(empty=False)) for i in range(2)]
        yield ChatRow(number, (people[0], people[1]), texts[2].text(), place)
    if number < 0:
        raise LogError(f"Expected conversations in {path}, got none: name another file.")


def _records(path: str | Path) -> Iterator[list[str]]:
    reader = csv.reader(_lines(path), strict=True)
    try:
        yield from reader
    except csv.Error as error:
        raise LogError(f"Expected CSV at {path} line {reader.line_num}, got {error}: write the file again.") from None


def _lines(path: str | Path) -> Iterator[str]:
    """Yields the lines of a file with their ends; none of them fills the memory."""
    with open_file(path) as file:
        number = 0
        while raw := file.readline(_LONGEST + 1):
            number += 1
            if len(raw) > _LONGEST:
                raise LogError(f"Expected lines of at most {_LONGEST} bytes at {path} line {number}, got more: cut it.")
            try:
                yield raw.decode("utf-8")
            except UnicodeDecodeError:
                raise LogError(f"Expected UTF-8 at {path} line {number}, got other bytes: save it as UTF-8.") from None


def load_dialogues(path: str | Path, unread: list[LogError] | None = None) -> list[LoggedDialogue]:
    """Returns the conversations of a file as logged dialogues: user 1 is P1, user 2 is P2.

    A line without a speaker belongs to the line before it; scene breaks of stars alone are left out.

    Args:
        path: The file.
        unread: Where given, conversations that name no speaker are left out and their errors put in
            here (the released test set has two); else the first one is raised.

    Raises:
        LogError: If the file is no such CSV, holds no conversation that can be read, or, without
            `unread`, one that cannot.
    """
    found = list[LoggedDialogue]()
    for row in read_chats(path):
        try:
            found.append(_dialogue(row, str(path)))
        except LogError as error:
            if unread is None:
                raise
            unread.append(error)
    if not found:
        raise LogError(f"Expected conversations in {path}, got none that can be read: name another file.")
    return found


def _dialogue(row: ChatRow, source: str) -> LoggedDialogue:
    one, two = (LoggedSpeaker(f"User {i + 1}", persona) for i, persona in enumerate(row.people))
    messages = tuple(_messages(row))
    stem = f"{Path(source).stem}/{row.number:04d}"
    return LoggedDialogue("chat_partner", (one, two), messages, id=stem, source=source, number=row.number)


def _messages(row: ChatRow) -> Iterator[LoggedMessage]:
    spoken = list[tuple[str, list[str]]]()
    for line in row.conversation.splitlines():
        match = _SPEAKER.fullmatch(line)
        if match:
            spoken.append((match.group(1), [match.group(2)]))
        elif not _BREAK.fullmatch(line):
            if not spoken:
                raise LogError(f"Expected 'User 1:' or 'User 2:' first at {row.place}, got {line!r:.40}: correct it.")
            spoken[-1][1].append(line)
    if not spoken:
        raise LogError(f"Expected a conversation at {row.place}, got an empty text: fill it in.")
    for speaker, lines in spoken:
        yield LoggedMessage("P1" if speaker == "1" else "P2", "\n".join(lines).strip())
