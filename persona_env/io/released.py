r"""The released logs of `abdulhaim/consistent-LLMs` (arXiv 2511.00222), with every raw judge reply.

P1 says the even lines and opens; a line is `[number, "Name: text\n"]` and may hold more colons.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from persona_env.io.json_files import FileError, Text, json_array
from persona_env.io.records import (
    LoggedDialogue,
    LoggedMessage,
    LoggedReply,
    LoggedScore,
    LoggedSpeaker,
    SpeakerKey,
    SurveyEntry,
)
from persona_env.persona import Persona, QAItem

__all__ = ["plain_text", "qa_item", "read_dialogues", "scene"]

_KEYS: tuple[SpeakerKey, SpeakerKey] = ("P1", "P2")
_ROLES = {"Therapy": "patient", "Education": "student", "Chatting": "chat_partner"}
_NAME = re.compile(r"[^:\n]{1,80}")
_OPTION = re.compile(r"^[ \t]*\(?([A-Z])[).][ \t]*(.*)$", re.MULTILINE)


class _Dialogue(Struct, frozen=True, kw_only=True):
    """A dialogue as it stands in the file; fields that no figure needs are passed over."""

    task_name: Literal["Therapy", "Education", "Chatting"]
    P1: Text
    P2: Text
    conversation: list[tuple[int, Text]]
    topic: Text = ""
    grade: Text = ""
    pturn: Literal[1] = 1
    P1_backstory_test: tuple[list[Text], list[Text]] = ([], [])
    P2_backstory_test: tuple[list[Text], list[Text]] = ([], [])
    eval_prompt_consistency: list[tuple[int, Text]] = []
    eval_index_consistency: list[tuple[int, Text]] = []
    eval_survey_consistency: list[tuple[Text, float, tuple[Text, ...], tuple[Text, ...]]] = []
    P1_prompt_consistency_score: float | None = None
    P1_index_consistency_score: float | None = None
    P1_survey_consistency_score: float | None = None
    P2_prompt_consistency_score: float | None = None
    P2_index_consistency_score: float | None = None
    P2_survey_consistency_score: float | None = None


def read_dialogues(path: str | Path) -> Iterator[LoggedDialogue]:
    """Yields the dialogues of a released log; a `FileError` names the dialogue and the field that are wrong."""
    for number, (place, found) in enumerate(json_array(path, _Dialogue, "dialogue")):
        yield _read(found, place, str(path), number)


def _read(found: _Dialogue, place: str, source: str, number: int) -> LoggedDialogue:
    raw = [text for _, text in found.conversation]
    if [line for line, _ in found.conversation] != [*range(len(raw))]:
        raise _wrong("lines numbered from 0", f"{place}, $.conversation", "others")
    names = (_name(raw[0::2]), _name(raw[1::2]))
    speakers = (
        _speaker(found, found.P1, names[0], _questions(found.P1_backstory_test, place)),
        _speaker(found, found.P2, names[1], _questions(found.P2_backstory_test, place)),
    )
    said = tuple(LoggedMessage(_KEYS[i % 2], _utterance(line, names[i % 2])) for i, line in enumerate(raw))
    replies = (
        *_replies("prompt_to_line", found.eval_prompt_consistency, place),
        *_replies("line_to_line", found.eval_index_consistency, place),
    )
    return LoggedDialogue(
        _ROLES[found.task_name],
        speakers,
        said,
        replies,
        tuple(_survey(found, raw, speakers, place)),
        tuple(_scores(found)),
        f"{Path(source).stem}/{number}",
        found.topic,
        found.grade,
        source=source,
        number=number,
    )


def _wrong(expected: str, place: str, got: str) -> FileError:
    return FileError(f"Expected {expected} at {place}, got {got}: correct the file.")


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


def _speaker(found: _Dialogue, text: str, name: str, questions: tuple[tuple[str, str], ...]) -> LoggedSpeaker:
    role, description = _ROLES[found.task_name], plain_text(text)
    if not description.strip():
        return LoggedSpeaker(name, None, questions)
    where = scene(found.topic, found.grade) if role == "student" else ""
    digest = hashlib.blake2b(f"{description}\n{where}".encode(), digest_size=6).hexdigest()
    items = tuple(item for item in (qa_item(*pair) for pair in questions) if item)
    persona = Persona(f"{role}/{digest}", role, name, description, questions=items, scene=where)
    return LoggedSpeaker(name, persona, questions)


def plain_text(text: str) -> str:
    r"""Returns a persona text; one that is a JSON string within the JSON is opened.

    >>> plain_text(r'"You are Ann.\nYou sleep \"well\"."')
    'You are Ann.\nYou sleep "well".'
    """
    if len(text) > 1 and text[0] == text[-1] == '"':
        try:
            return msgspec.json.decode(text, type=str)
        except (ValueError, msgspec.MsgspecError):
            return text
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


def _questions(test: tuple[list[str], list[str]], place: str) -> tuple[tuple[str, str], ...]:
    questions, golds = test
    if len(questions) != len(golds):
        raise _wrong("as many gold answers as questions", place, f"{len(golds)} for {len(questions)}")
    return tuple(zip(questions, golds, strict=True))


def _replies(metric: str, judged: list[tuple[int, str]], place: str) -> Iterator[LoggedReply]:
    lines = [line for line, _ in judged]
    if len(set(lines)) < len(lines):
        raise _wrong("each line judged once", place, f"{metric} with one twice")
    return (LoggedReply(metric, line, raw) for line, raw in judged)


def _survey(
    found: _Dialogue, raw: list[str], speakers: tuple[LoggedSpeaker, LoggedSpeaker], place: str
) -> Iterator[SurveyEntry]:
    """Yields the Q&A entries; each repeats the line it stands after, in the order of the dialogue."""
    line = -1
    for text, score, answers, verdicts in found.eval_survey_consistency:
        line = next((i for i in range(line + 1, len(raw)) if raw[i] == text), -1)
        if line < 0:
            raise _wrong("a survey after a line of the dialogue", place, f"{text!r:.40}")
        asked = len(speakers[line % 2].backstory_test)
        if not len(answers) == len(verdicts) == asked:
            raise _wrong(f"{asked} answers and verdicts", f"{place}, survey", f"{len(answers)} and {len(verdicts)}")
        yield SurveyEntry(line, score, answers, verdicts)


def _scores(found: _Dialogue) -> Iterator[LoggedScore]:
    given = msgspec.structs.asdict(found)
    for key in _KEYS:
        for metric in ("prompt", "index", "survey"):
            value = given[f"{key}_{metric}_consistency_score"]
            if value is not None:
                yield LoggedScore(key, metric, value)
