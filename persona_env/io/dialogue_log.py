"""Our own log format: JSONL, one dialogue a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from persona_env.conversation import Conversation
from persona_env.io.atomic import write_jsonl
from persona_env.io.json_files import FileError, Record, Text, json_lines
from persona_env.io.records import LoggedDialogue, LoggedMessage, LoggedReply, LoggedScore, LoggedSpeaker, SurveyEntry
from persona_env.scenario import Scenario

__all__ = ["FORMAT", "dialogue_fields", "read_dialogues", "save_logs"]

FORMAT = "persona-env/dialogue-v1"
_EVAL_FORMAT = "persona-env/eval-v1"  # the evaluation log, which holds dialogues too; an upper floor reads it

_FIELDS = ("id", "role", "topic", "grade", "messages", "replies", "survey", "scores", "scenario")


class _Line(Record, frozen=True, kw_only=True):
    """A line of the file."""

    format: Literal["persona-env/dialogue-v1"]
    role: Text
    P1: LoggedSpeaker
    P2: LoggedSpeaker
    messages: tuple[LoggedMessage, ...] = ()
    replies: tuple[LoggedReply, ...] = ()
    survey: tuple[SurveyEntry, ...] = ()
    scores: tuple[LoggedScore, ...] = ()
    id: Text = ""
    topic: Text = ""
    grade: Text = ""
    scenario: Scenario = Scenario()


def save_logs(path: str | Path, dialogues: Iterable[LoggedDialogue | Conversation]) -> int:
    """Writes dialogues to a JSONL file, one by one, whole or not at all, and returns how many; FileError if none."""
    logged = (LoggedDialogue.of(one) if isinstance(one, Conversation) else one for one in dialogues)
    return write_jsonl(path, map(dialogue_fields, logged))


def dialogue_fields(dialogue: LoggedDialogue) -> dict[str, Any]:
    """Returns the object that stands on a dialogue's line, made of records; what is empty is left out."""
    fields = {name: getattr(dialogue, name) for name in _FIELDS}
    told = {name: value for name, value in fields.items() if value not in ("", (), Scenario())}
    return {"format": FORMAT, **told, "P1": dialogue.speakers[0], "P2": dialogue.speakers[1]}


def read_dialogues(path: str | Path) -> Iterator[LoggedDialogue]:
    """Yields the dialogues of a log of ours, one line at a time; a `FileError` names the line and the field."""
    _, first = next(json_lines(path, dict[str, Any]))
    if first.get("format") == _EVAL_FORMAT:
        reader = import_module("persona_env.evaluation.eval_log")
        for number, dialogue in enumerate(reader.logged_dialogues(path)):
            yield replace(dialogue, source=str(path), number=number)
    elif first.get("format") == FORMAT:
        for number, (_, line) in enumerate(json_lines(path, _Line)):
            fields = {name: getattr(line, name) for name in _FIELDS}
            yield LoggedDialogue(speakers=(line.P1, line.P2), source=str(path), number=number, **fields)
    else:
        raise FileError(f'Expected dialogues with "format": "{FORMAT}" at {path} line 1, got others: name another log.')
