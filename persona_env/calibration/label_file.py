"""Labels in a file of our own: JSONL, one label a line.

    {"format": "persona-env/label-v1",
     "question": {"kind": "prompt_to_line", "persona": {...}, "heard": "...", "line": "..."},
     "label": "inconsistent", "persona": "p1", "annotator": "ann"}

- `question.kind` is `prompt_to_line` or `relevance` (with `persona`, an object as in persona files, `heard`
  and `line`), `line_to_line` (`role`, `line`, `earlier`) or `question_answer` (`role`, `question`, `gold`,
  `answer` and perhaps `choices`).
- `label` is `consistent` or `inconsistent`, in the sense of `Verdict.label`.
- `persona` (optional) is the id of whose line it is: intervals are taken over it. Where it is left out and
  the question holds no persona, all such questions count as one person's: no interval claims more than is
  known.
- `annotator` (optional) is who labelled it. A question may stand there once for each annotator.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from persona_env.io import LogError
from persona_env.io.nodes import Node
from persona_env.io.persona_file import persona_fields, read_persona
from persona_env.io.strict_json import json_text, line_nodes, write_lines
from persona_env.judges.base import AnswerVsGold, LineVsHistory, LineVsPersona, LineVsPrevious, Query
from persona_env.roles import ROLES

__all__ = [
    "FORMAT",
    "KINDS",
    "GivenLabel",
    "Vote",
    "kind_of",
    "question_fields",
    "read_label",
    "read_labels",
    "read_question",
    "role_of",
    "save_labels",
]

FORMAT = "persona-env/label-v1"

KINDS = ("prompt_to_line", "line_to_line", "question_answer", "relevance")
"""The kinds of question, by the metric that asks them."""

GivenLabel: TypeAlias = Literal["consistent", "inconsistent"]

_FIELDS = ("format", "question", "label", "persona", "annotator")


@dataclass(frozen=True, slots=True)
class Vote:
    """A question as one annotator labelled it.

    Attributes:
        question: What was asked.
        label: What the annotator says.
        person: The id of whose line it is; "" where nobody says.
        annotator: Who labelled it; "" where nobody says.
    """

    question: Query
    label: GivenLabel
    person: str = ""
    annotator: str = ""


def kind_of(question: Query) -> str:
    """Returns the name of the metric that asks such a question."""
    match question:
        case LineVsPersona():
            return "prompt_to_line"
        case LineVsHistory():
            return "line_to_line"
        case AnswerVsGold():
            return "question_answer"
        case LineVsPrevious():
            return "relevance"


def role_of(question: Query) -> str:
    """Returns the key of the role that the question is about."""
    if isinstance(question, LineVsPersona | LineVsPrevious):
        return question.persona.role
    return question.role


def question_fields(question: Query) -> dict[str, object]:
    """Returns a question as the object that `read_question` reads."""
    fields: dict[str, object] = {"kind": kind_of(question)}
    for name in question.__dataclass_fields__:
        value = getattr(question, name)
        fields[name] = persona_fields(value) if name == "persona" else value
    return fields


def read_question(node: Node) -> Query:
    """Returns the question of an object.

    Raises:
        LogError: If it is none; one line that names the field.
    """
    kind = node.field("kind")
    match kind.text():
        case "prompt_to_line" | "relevance":
            node.only("kind", "persona", "heard", "line")
            persona = read_persona(node.field("persona"))
            line, heard = node.field("line").text(), node.text_of("heard")
            if kind.value == "relevance":
                return LineVsPrevious(persona, heard, line)
            return LineVsPersona(persona, line, heard)
        case "line_to_line":
            node.only("kind", "role", "line", "earlier")
            return LineVsHistory(_role(node), node.field("line").text(), node.field("earlier").texts())
        case "question_answer":
            node.only("kind", "role", "question", "gold", "answer", "choices")
            asked, gold = (node.field(name).text(empty=False) for name in ("question", "gold"))
            return AnswerVsGold(_role(node), asked, gold, node.field("answer").text(), node.texts_of("choices"))
        case _:
            raise kind.fail(f"one of {', '.join(KINDS)}")


def _role(node: Node) -> str:
    role = node.field("role")
    if role.text() not in ROLES:
        raise role.fail(f"one of {', '.join(ROLES)}")
    return role.text()


def read_label(node: Node) -> Vote:
    """Returns the label that stands on one line of a file of ours.

    Raises:
        LogError: If there is none; one line that names the field.
    """
    kind = node.get("format")
    if kind is None or kind.value != FORMAT:
        raise node.fail(f'a label with "format": "{FORMAT}"', "name a file of labels")
    node.only(*_FIELDS)
    question, label = read_question(node.field("question")), node.field("label")
    if label.value not in ("consistent", "inconsistent"):
        raise label.fail("consistent or inconsistent")
    of_question = question.persona.id if isinstance(question, LineVsPersona | LineVsPrevious) else ""
    return Vote(question, label.value, node.text_of("persona") or of_question, node.text_of("annotator"))


def save_labels(path: str | Path, votes: Iterable[Vote]) -> int:
    """Writes labels to a file of ours, whole or not at all, and returns how many.

    Raises:
        LogError: If there is none, or the file cannot be written.
    """
    return write_lines(path, _lines(votes))


def _lines(votes: Iterable[Vote]) -> Iterator[str]:
    empty = True
    for vote in votes:
        empty = False
        fields = {"format": FORMAT, "question": question_fields(vote.question), "label": vote.label}
        named = {"persona": vote.person, "annotator": vote.annotator}
        yield json_text(fields | {name: text for name, text in named.items() if text})
    if empty:
        raise LogError("Expected labels to write, got none: a file holds at least one.")


def read_labels(path: str | Path) -> Iterator[Vote]:
    """Yields the labels of a file of ours."""
    return (read_label(node) for node in line_nodes(path))
