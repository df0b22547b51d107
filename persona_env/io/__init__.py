"""Dialogue logs and persona files, in and out: ours and the released ones, told by what is in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from persona_env.io import dialogue_log as own
from persona_env.io import released
from persona_env.io.dialogue_log import save_logs
from persona_env.io.json_files import FileError, first_byte
from persona_env.io.persona_file import load_personas, save_personas
from persona_env.io.records import LoggedDialogue, LoggedReply, LoggedScore, SpeakerKey

__all__ = [
    "FileError",
    "LoggedDialogue",
    "LoggedReply",
    "LoggedScore",
    "SpeakerKey",
    "iter_logs",
    "load_logs",
    "load_personas",
    "save_logs",
    "save_personas",
]


def iter_logs(path: str | Path) -> Iterator[LoggedDialogue]:
    """Yields the dialogues of a JSONL log of ours, one line at a time, or of a JSON log of the released kind."""
    byte = first_byte(path)
    if byte not in (b"[", b"{"):
        raise FileError(f"Expected JSON or JSONL at {path} line 1, got {byte.decode('latin-1')!a}: name another file.")
    dialogues = released.read_dialogues(path) if byte == b"[" else own.read_dialogues(path)
    first = next(dialogues, None)
    if first is None:
        raise FileError(f"Expected dialogues in {path}, got none: name another log.")
    yield first
    yield from dialogues


def load_logs(path: str | Path) -> list[LoggedDialogue]:
    """Returns the dialogues of a log; see `iter_logs`."""
    return list(iter_logs(path))
