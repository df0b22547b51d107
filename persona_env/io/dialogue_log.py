"""Our own log format: JSONL, one dialogue a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from persona_env.conversation import Conversation
from persona_env.io.nodes import LogError, Node
from persona_env.io.persona_file import persona_fields, read_persona
from persona_env.io.records import (
    LoggedDialogue,
    LoggedMessage,
    LoggedReply,
    LoggedScore,
    LoggedSpeaker,
    SpeakerKey,
    SurveyEntry,
)
from persona_env.io.strict_json import json_text, line_nodes, write_lines
from persona_env.roles import ROLES

__all__ = ["FORMAT", "dialogue_fields", "read_dialogues", "save_logs"]

FORMAT = "persona-env/dialogue-v1"

_FIELDS = (
    *("format", "id", "role", "topic", "grade", "P1", "P2"),
    *("messages", "replies", "survey", "scores"),
)
_LABELS = ("consistent", "inconsistent", "invalid")


def save_logs(path: str | Path, dialogues: Iterable[LoggedDialogue | Conversation]) -> int:
    """Writes dialogues to a JSONL file, one by one; the file is there whole or not at all.

    Args:
        path: The file; one of that name is replaced.
        dialogues: Conversations of ours, or dialogues of any log.

    Returns:
        How many were written.

    Raises:
        LogError: If there is none, one holds what JSON or UTF-8 cannot, or the file cannot be
            written.
    """
    records = (LoggedDialogue.of(d) if isinstance(d, Conversation) else d for d in dialogues)
    return write_lines(path, _at_least_one(json_text(dialogue_fields(record)) for record in records))


def _at_least_one(lines: Iterable[str]) -> Iterator[str]:
    count = 0
    for count, line in enumerate(lines, 1):  # noqa: B007
        yield line
    if not count:
        raise LogError("Expected dialogues to write, got none: a log holds at least one.")


def _without_empty(fields: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in fields.items() if value not in ("", None, [], ())}


def dialogue_fields(dialogue: LoggedDialogue) -> dict[str, object]:
    """Returns a dialogue as the JSON object that stands on its line; what is empty is left out."""
    return _without_empty(
        {
            "format": FORMAT,
            "id": dialogue.id,
            "role": dialogue.role,
            "topic": dialogue.topic,
            "grade": dialogue.grade,
            "P1": _speaker_fields(dialogue.speakers[0]),
            "P2": _speaker_fields(dialogue.speakers[1]),
            "messages": [[message.speaker, message.text] for message in dialogue.messages] or None,
            "replies": [_reply_fields(reply) for reply in dialogue.replies],
            "survey": [[e.line, e.score, e.answers, e.verdicts] for e in dialogue.survey],
            "scores": [[score.speaker, score.metric, score.value] for score in dialogue.scores],
        }
    )


def _speaker_fields(speaker: LoggedSpeaker) -> dict[str, object]:
    fields: dict[str, object] = {
        "name": speaker.name,
        "persona": persona_fields(speaker.persona) if speaker.persona else None,
        "backstory_test": speaker.backstory_test,
    }
    return _without_empty(fields)


def _reply_fields(reply: LoggedReply) -> dict[str, object]:
    return _without_empty({name: getattr(reply, name) for name in LoggedReply.__dataclass_fields__})


def read_dialogues(path: str | Path) -> Iterator[LoggedDialogue]:
    """Yields the dialogues of a log of ours, one line at a time.

    Raises:
        LogError: If the file is no such log; the message names the line and the field.
    """
    for number, node in enumerate(line_nodes(path)):
        yield _dialogue(node, str(path), number)


def _dialogue(node: Node, source: str, number: int) -> LoggedDialogue:
    kind = node.get("format")
    if kind is None or kind.value != FORMAT:
        raise node.fail(f'a dialogue with "format": "{FORMAT}"', "name a log that save_logs wrote")
    node.only(*_FIELDS)
    role = node.field("role")
    if role.text() not in ROLES:
        raise role.fail(f"one of {', '.join(ROLES)}")
    messages = tuple(_message(item) for item in node.items_of("messages"))
    return LoggedDialogue(
        role=role.text(),
        speakers=(_speaker(node.field("P1")), _speaker(node.field("P2"))),
        messages=messages,
        replies=tuple(_reply(item, len(messages)) for item in node.items_of("replies")),
        survey=tuple(_entry(item, len(messages)) for item in node.items_of("survey")),
        scores=tuple(_score(item) for item in node.items_of("scores")),
        id=node.text_of("id"),
        topic=node.text_of("topic"),
        grade=node.text_of("grade"),
        source=source,
        number=number,
    )


def _key(node: Node) -> SpeakerKey:
    if node.value not in ("P1", "P2"):
        raise node.fail("P1 or P2")
    return node.value


def _message(node: Node) -> LoggedMessage:
    speaker, text = node.items(2)
    return LoggedMessage(_key(speaker), text.text())


def _speaker(node: Node) -> LoggedSpeaker:
    node.only("name", "persona", "backstory_test")
    persona = node.get("persona")
    pairs = (item.items(2) for item in node.items_of("backstory_test"))
    test = tuple((question.text(), gold.text()) for question, gold in pairs)
    return LoggedSpeaker(node.text_of("name"), read_persona(persona) if persona else None, test)


def _line(node: Node, count: int) -> int:
    line = node.whole()
    if not 0 <= line < count:
        raise node.fail(f"a line number in 0 to {count - 1}")
    return line


def _reply(node: Node, count: int) -> LoggedReply:
    node.only(*LoggedReply.__dataclass_fields__)
    label, probability = node.get("label"), node.get("probability")
    if label is not None and label.value not in _LABELS:
        raise label.fail(f"one of {', '.join(_LABELS)}")
    if probability is not None and not 0.0 <= probability.number() <= 1.0:
        raise probability.fail("a probability in [0, 1]")
    return LoggedReply(
        metric=node.field("metric").text(empty=False),
        line=_line(node.field("line"), count),
        raw=node.text_of("raw"),
        label=label.value if label else None,  # pyright: ignore[reportArgumentType]
        conflicts=tuple(item.whole() for item in node.items_of("conflicts")),
        reason=node.text_of("reason"),
        probability=probability.number() if probability else None,
        question=node.text_of("question"),
        gold=node.text_of("gold"),
        answer=node.text_of("answer"),
        choices=node.texts_of("choices"),
    )


def _entry(node: Node, count: int) -> SurveyEntry:
    line, score, answers, verdicts = node.items(4)
    return SurveyEntry(_line(line, count), score.number(), answers.texts(), verdicts.texts())


def _score(node: Node) -> LoggedScore:
    speaker, metric, value = node.items(3)
    return LoggedScore(_key(speaker), metric.text(), value.number())
