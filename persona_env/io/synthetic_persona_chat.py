"""Synthetic-Persona-Chat: a CSV whose rows hold two personas (a sentence a line) and a conversation of theirs.

Source: Jandaghi et al., "Faithful Persona-based Conversational Dataset Generation with Large Language
Models" (2023), arXiv 2312.10007.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from persona_env.io.json_files import MAX_TEXT, FileError
from persona_env.io.records import LoggedDialogue, LoggedMessage, LoggedSpeaker
from persona_env.io.text_files import table_rows
from persona_env.persona import Persona

__all__ = ["COLUMNS", "Chat", "load_dialogues", "read_chats"]

COLUMNS = ("user 1 personas", "user 2 personas", "Best Generated Conversation")


_SPEAKER = re.compile(r"(?:\* ?\* ?)?User ([12]):(?: ?\* ?\*)? ?(.*)")
_BREAK = re.compile(r"[*\s]*")


class Chat(NamedTuple):
    """A row: the personas of user 1 and user 2, their conversation as it stands there, and the file and row."""

    personas: tuple[Persona, Persona]
    conversation: str
    place: str


def read_chats(path: str | Path) -> Iterator[Chat]:
    """Yields the rows; their personas have the ids `<file>/<row>/1` and `/2`. A `FileError` names the row."""
    number = -1
    for number, (place, row) in enumerate(table_rows(path)):
        if not {*COLUMNS} <= row.keys():
            raise FileError(
                f"Expected the columns {', '.join(COLUMNS)} at {path} line 1, got {[*row]!r:.60}: name one."
            )
        for name in COLUMNS[:2]:
            if not 0 < len(row[name].strip()) <= MAX_TEXT:
                got = len(row[name])
                raise FileError(f"Expected 1 to {MAX_TEXT} characters at {place}, {name}, got {got}: correct it.")
        stem = f"{Path(path).stem}/{number:04d}"
        one, two = (Persona(f"{stem}/{user}", "chat_partner", "", row[COLUMNS[user - 1]]) for user in (1, 2))
        yield Chat((one, two), row[COLUMNS[2]], place)
    if number < 0:
        raise FileError(f"Expected conversations in {path}, got none: name another file.")


def load_dialogues(path: str | Path, unread: list[FileError] | None = None) -> list[LoggedDialogue]:
    """Returns the conversations as logged dialogues: user 1 is P1, user 2 is P2.

    Errors of conversations that name no speaker (the released test set has two) are put into `unread`; without it, the
    first one is raised.

    Raises:
        FileError: If the file is no such CSV, or no conversation can be read.
    """
    found = list[LoggedDialogue]()
    for number, chat in enumerate(read_chats(path)):
        try:
            messages = _messages(chat)
        except FileError as error:
            if unread is None:
                raise
            unread.append(error)
            continue
        one, two = (LoggedSpeaker(f"User {user}", persona) for user, persona in enumerate(chat.personas, 1))
        stem = chat.personas[0].id.removesuffix("/1")
        found.append(LoggedDialogue("chat_partner", (one, two), messages, id=stem, source=str(path), number=number))
    if not found:
        raise FileError(f"Expected conversations in {path}, got none that can be read: name another file.")
    return found


def _messages(chat: Chat) -> tuple[LoggedMessage, ...]:
    """A line that names nobody belongs to the line before it; scene breaks of stars alone are left out."""
    spoken = list[tuple[str, list[str]]]()
    for line in chat.conversation.splitlines():
        if match := _SPEAKER.fullmatch(line):
            spoken.append((match[1], [match[2]]))
        elif not _BREAK.fullmatch(line):
            if not spoken:
                raise FileError(f"Expected 'User 1:' or 'User 2:' first at {chat.place}, got {line!r:.40}: correct it.")
            spoken[-1][1].append(line)
    if not spoken:
        raise FileError(f"Expected a conversation at {chat.place}, got an empty text: fill it in.")
    return tuple(LoggedMessage("P1" if user == "1" else "P2", "\n".join(lines).strip()) for user, lines in spoken)
