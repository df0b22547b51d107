r"""The released logs of `abdulhaim/consistent-LLMs`: dialogues with every raw judge reply, and persona files.

Source: arXiv 2511.00222 and its released code. What the format means is told here by what is checked:
P1 says the even lines and opens (`pturn` 1); a line is `[number, "Name: text\n"]` and may hold more colons;
some persona texts are JSON strings within the JSON.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

from persona_env.io.nodes import Node, is_utf8
from persona_env.io.records import (
    TASK_NAMES,
    LoggedDialogue,
    LoggedMessage,
    LoggedReply,
    LoggedScore,
    LoggedSpeaker,
    SpeakerKey,
    SurveyEntry,
)
from persona_env.io.strict_json import array_nodes
from persona_env.persona import Persona, QAItem

__all__ = ["is_dialogue", "plain_text", "qa_item", "read_dialogue", "read_dialogues", "scene"]

_KEYS: tuple[SpeakerKey, SpeakerKey] = ("P1", "P2")
_METRICS = {"eval_prompt_consistency": "prompt_to_line", "eval_index_consistency": "line_to_line"}
_NAME = re.compile(r"[^:\n]{1,80}")
_OPTION = re.compile(r"^[ \t]*\(?([A-Z])[).][ \t]*(.*)$", re.MULTILINE)


def read_dialogues(path: str | Path) -> Iterator[LoggedDialogue]:
    """Yields the dialogues of a released log.

    Raises:
        LogError: If the file is no such log; the message names the dialogue and the field.
    """
    for number, node in enumerate(array_nodes(path, "dialogue")):
        yield read_dialogue(node, str(path), number)


def is_dialogue(node: Node) -> bool:
    """Returns whether this looks like a dialogue of the released logs."""
    return isinstance(node.value, dict) and "conversation" in node.fields()


def read_dialogue(node: Node, source: str, number: int) -> LoggedDialogue:
    """Returns one dialogue of a released log."""
    if not is_dialogue(node):
        raise node.fail("a logged dialogue, an object with the field 'conversation'", "name a dialogue log")
    role = _role(node.field("task_name"))
    pturn = node.get("pturn")
    if pturn is not None and pturn.whole() != 1:
        raise pturn.fail("1 (P1 opens, as the published scores assume)")
    raw, messages, names = _conversation(node.field("conversation"))
    topic, grade = node.text_of("topic"), node.text_of("grade")
    people = [
        LoggedSpeaker(name, _persona(node.field(key), role, name, topic, grade, test), test)
        for key, name in zip(_KEYS, names, strict=True)
        for test in [_backstory_test(node, key)]
    ]
    return LoggedDialogue(
        role=role,
        speakers=(people[0], people[1]),
        messages=messages,
        replies=tuple(_replies(node, len(messages))),
        survey=tuple(_survey(node, raw, (people[0], people[1]))),
        scores=tuple(_scores(node)),
        id=f"{Path(source).stem}/{number}",
        topic=topic,
        grade=grade,
        source=source,
        number=number,
    )


def _role(node: Node) -> str:
    role = TASK_NAMES.get(node.text())
    if role is None:
        raise node.fail(f"one of {', '.join(TASK_NAMES)}")
    return role


def _conversation(node: Node) -> tuple[list[str], tuple[LoggedMessage, ...], tuple[str, str]]:
    """Returns the lines as they stand in the log, the same without the speakers' names, and the names."""
    raw = list[str]()
    for place, item in enumerate(node.items()):
        number, line = item.items(2)
        if number.whole() != place:
            raise number.fail(f"line number {place}")
        raw.append(line.text())
    names = (_name(raw[0::2]), _name(raw[1::2]))
    messages = tuple(
        LoggedMessage(_KEYS[place % 2], _utterance(line, names[place % 2])) for place, line in enumerate(raw)
    )
    return raw, messages, names


def _name(lines: list[str]) -> str:
    """Returns what stands before the first colon of a speaker's lines, if it is the same in all of them."""
    match = _NAME.match(lines[0]) if lines else None
    if match and all(line.startswith(f"{match.group()}:") for line in lines):
        return match.group()
    return ""


def _utterance(line: str, name: str) -> str:
    """Returns a line without its speaker's name and the line end that the log adds; nothing else is cut."""
    text = line.removeprefix(f"{name}:").removeprefix(" ") if name else line
    return text.removesuffix("\n")


def _persona(
    node: Node, role: str, name: str, topic: str, grade: str, test: tuple[tuple[str, str], ...]
) -> Persona | None:
    description = plain_text(node.text())
    if not description.strip():
        return None
    where = scene(topic, grade) if role == "student" else ""
    digest = hashlib.blake2b(f"{description}\n{where}".encode(), digest_size=6).hexdigest()
    items = tuple(item for item in (qa_item(*pair) for pair in test) if item)
    return Persona(f"{role}/{digest}", role, name, description, questions=items, scene=where)


def plain_text(text: str) -> str:
    r"""Returns a persona text; one that is a JSON string within the JSON is opened.

    >>> plain_text(r'"You are Ann.\nYou sleep \"well\"."')
    'You are Ann.\nYou sleep "well".'
    """
    if len(text) > 1 and text[0] == text[-1] == '"':
        try:
            inner = json.loads(text)
        except ValueError:
            return text
        if isinstance(inner, str) and is_utf8(inner):
            return inner
    return text


def scene(topic: str, grade: str) -> str:
    """Returns in words what a lesson is about and for whom; "" where the log does not say."""
    lesson = f"The lesson is about {topic}." if topic else ""
    return f"{lesson} The student is in {grade}.".strip() if grade else lesson


def qa_item(question: str, gold: str) -> QAItem | None:
    r"""Returns a recorded question as a Q&A item, or None if it is broken (26 % have a one-character gold).

    >>> qa_item("Query: Which pet?\n\nA) Cat\nB) Dog", "Answer: B) Dog").gold
    'Dog'
    >>> qa_item("Query: Which pet?\n\nA) Cat\nB) Dog", "g") is None
    True
    """
    asked = question.removeprefix("Query:").strip()
    options = _OPTION.findall(asked)
    right = gold.removeprefix("Answer:").strip()
    lettered = _OPTION.match(right)
    if lettered:
        right = lettered.group(2).strip() + right[lettered.end() :]
        right = right.strip() or dict(options).get(lettered.group(1), "")
    try:
        return QAItem(right, (asked,), choices=tuple(text.strip() for _, text in options))
    except ValueError:
        return None


def _backstory_test(node: Node, key: SpeakerKey) -> tuple[tuple[str, str], ...]:
    found = node.get(f"{key}_backstory_test")
    if found is None:
        return ()
    questions, golds = (part.texts() for part in found.items(2))
    if len(questions) != len(golds):
        raise found.fail("as many gold answers as questions", got=f"{len(golds)} for {len(questions)}")
    return tuple(zip(questions, golds, strict=True))


def _replies(node: Node, count: int) -> Iterator[LoggedReply]:
    for field, metric in _METRICS.items():
        seen = set[int]()
        for item in node.items_of(field):
            line, raw = item.items(2)
            if not 0 <= line.whole() < count:
                raise line.fail(f"a line number in 0 to {count - 1}")
            if line.whole() in seen:
                raise line.fail("each line judged once")
            seen.add(line.whole())
            yield LoggedReply(metric, line.whole(), raw.text())


def _survey(node: Node, raw: list[str], people: tuple[LoggedSpeaker, LoggedSpeaker]) -> Iterator[SurveyEntry]:
    """Yields the Q&A entries; each repeats the line it stands after, in the order of the dialogue."""
    place = -1
    for item in node.items_of("eval_survey_consistency"):
        line, score, answers, verdicts = item.items(4)
        text = line.text()
        place = next((i for i in range(place + 1, len(raw)) if raw[i] == text), -1)
        if place < 0:
            raise line.fail("a line of the dialogue that comes after the entry before it")
        entry = SurveyEntry(place, score.number(), answers.texts(), verdicts.texts())
        asked = len(people[place % 2].backstory_test)
        if not len(entry.answers) == len(entry.verdicts) == asked:
            raise item.fail(
                f"{asked} answers and verdicts",
                got=f"{len(entry.answers)} and {len(entry.verdicts)}",
            )
        yield entry


def _scores(node: Node) -> Iterator[LoggedScore]:
    for key in _KEYS:
        for metric in ("prompt", "index", "survey"):
            found = node.get(f"{key}_{metric}_consistency_score")
            if found is not None:
                yield LoggedScore(key, metric, found.number())
