"""Labels in a file of our own: JSONL, one label a line.

    {"format": "persona-env/label-v1",
     "question": {"kind": "prompt_to_line", "persona": {...}, "heard": "...", "line": "..."},
     "label": "inconsistent", "persona": "p1", "annotator": "ann"}

A question has its `kind` and the fields of its query (`_QUERIES`), a persona as in persona files. `persona` (optional)
is whose line it is: intervals are taken over it. Where it is left out and the question holds none, all such questions
count as one persona's, so that no interval is too narrow. `annotator` (optional) is who labelled it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

from persona_env.io.atomic import record_fields, write_jsonl
from persona_env.io.json_files import FileError, Record, Text, converted, json_lines
from persona_env.judges.base import (
    AnswerVsGold,
    LineVsHistory,
    LineVsPersona,
    LineVsPrevious,
    LineVsQuestion,
    LineVsRole,
    Query,
)

__all__ = ["FORMAT", "KINDS", "GivenLabel", "Labelled", "question_fields", "read_labels", "save_labels"]

FORMAT = "persona-env/label-v1"

_QUERIES: Mapping[str, type[Query]] = {
    "prompt_to_line": LineVsPersona,
    "line_to_line": LineVsHistory,
    "question_answer": AnswerVsGold,
    "relevance": LineVsPrevious,
    "evasion": LineVsQuestion,
    "role_flip": LineVsRole,
}

KINDS = tuple(_QUERIES)
"""The kinds of question, by the metric that asks them."""

GivenLabel: TypeAlias = Literal["consistent", "inconsistent"]


class _Line(Record, frozen=True):
    """A line of the file."""

    format: Literal["persona-env/label-v1"]
    question: dict[str, Any]
    label: GivenLabel
    persona: Text = ""
    annotator: Text = ""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A question and its label: what the annotator says, or most of several."""

    question: Query
    label: GivenLabel
    persona_id: str = ""  # whose line it is; "" where that is not known
    annotator: str = ""  # "" for several, and where that is not known

    @property
    def kind(self) -> str:
        """The name of the metric that asks such a question."""
        return _kind(self.question)

    @property
    def role(self) -> str:
        """The key of the role that the question is about."""
        return self.question.role


def _kind(question: Query) -> str:
    return next(kind for kind, query in _QUERIES.items() if isinstance(question, query))


def question_fields(question: Query) -> dict[str, Any]:
    """Returns a question as the object that stands in files, made of records (`json_line` writes it)."""
    return {"kind": _kind(question), **cast("dict[str, Any]", record_fields(question))}


def save_labels(path: str | Path, labels: Iterable[Labelled]) -> int:
    """Writes labels to a file of ours, whole or not at all, and returns how many; FileError if there is none."""
    return write_jsonl(path, map(_fields, labels))


def _fields(item: Labelled) -> dict[str, Any]:
    named = {"persona": item.persona_id, "annotator": item.annotator}
    fields = {"format": FORMAT, "question": question_fields(item.question), "label": item.label}
    return fields | {name: text for name, text in named.items() if text}


def read_labels(path: str | Path) -> Iterator[Labelled]:
    """Yields the labels of a file of ours; a `FileError` names the line and the field that are wrong."""
    for place, line in json_lines(path, _Line):
        question = _question(line.question, f"{place}, $.question")
        of_question = "" if isinstance(question, LineVsHistory | AnswerVsGold) else question.persona.id
        yield Labelled(question, line.label, line.persona or of_question, line.annotator)


def _question(fields: dict[str, Any], place: str) -> Query:
    kind = fields.pop("kind", None)
    if kind not in KINDS:
        raise FileError(f"Expected a kind of question {', '.join(KINDS)} at {place}, got {kind!r:.40}: choose one.")
    return converted(fields, _QUERIES[kind], place)
