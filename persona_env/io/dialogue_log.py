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
from persona_env.io.records import (
    LoggedDialogue,
    LoggedMessage,
    LoggedReply,
    LoggedScore,
    LoggedSpeaker,
    SurveyEntry,
)
from persona_env.scenario import Scenario

__all__ = ["FORMAT", "dialogue_fields", "read_dialogues", "save_logs"]

FORMAT = "persona-env/dialogue-v1"

_CONVERTERS = {"persona-env/eval-v1": ("persona_env.evaluation.eval_log", "logged_dialogues")}
"""Formats of upper floors that hold dialogues too, each with the function that reads them."""


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
    """Writes dialogues to a JSONL file, one by one; the file is there whole or not at all.

    Args:
        path: The file; one of that name is replaced.
        dialogues: Conversations of ours, or dialogues of any log.

    Returns:
        How many were written.

    Raises:
        FileError: If there is none, or one holds what JSON or UTF-8 cannot.
        CannotWrite: If the file cannot be written.
    """
    return write_jsonl(path, _rows(dialogues))


def _rows(dialogues: Iterable[LoggedDialogue | Conversation]) -> Iterator[dict[str, Any]]:
    empty = True
    for dialogue in dialogues:
        empty = False
        yield dialogue_fields(LoggedDialogue.of(dialogue) if isinstance(dialogue, Conversation) else dialogue)
    if empty:
        raise FileError("Expected dialogues to write, got none: a log holds at least one.")


def dialogue_fields(dialogue: LoggedDialogue) -> dict[str, Any]:
    """Returns the object that stands on a dialogue's line, made of records; what is empty is left out."""
    names = ("id", "role", "topic", "grade", "messages", "replies", "survey", "scores")
    fields = {name: value for name in names if (value := getattr(dialogue, name))}
    if dialogue.scenario != Scenario():
        fields["scenario"] = dialogue.scenario
    return {"format": FORMAT, **fields, "P1": dialogue.speakers[0], "P2": dialogue.speakers[1]}


def read_dialogues(path: str | Path) -> Iterator[LoggedDialogue]:
    """Yields the dialogues of a log of ours, one line at a time.

    Raises:
        FileError: If the file is no such log; the message names the line and the field.
    """
    _, first = next(json_lines(path, dict[str, Any]))
    if first.get("format") in _CONVERTERS:
        module, function = _CONVERTERS[first["format"]]
        for number, dialogue in enumerate(getattr(import_module(module), function)(path)):
            yield replace(dialogue, source=str(path), number=number)
        return
    if first.get("format") != FORMAT:
        raise FileError(f'Expected dialogues with "format": "{FORMAT}" at {path} line 1, got others: name another log.')
    for number, (_, line) in enumerate(json_lines(path, _Line)):
        yield LoggedDialogue(
            role=line.role,
            speakers=(line.P1, line.P2),
            messages=line.messages,
            replies=line.replies,
            survey=line.survey,
            scores=line.scores,
            id=line.id,
            topic=line.topic,
            grade=line.grade,
            scenario=line.scenario,
            source=str(path),
            number=number,
        )
