"""The evaluation set of Dialogue NLI: personas, the start of a dialogue, and replies with human labels.

Source: Welleck et al., "Dialogue Natural Language Inference" (2019), arXiv 1811.00671, section 5.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from persona_env.errors import InputError
from persona_env.io.json_files import Record, Words, first_byte, json_lines
from persona_env.persona import Persona

__all__ = ["DnliCandidates", "DnliRow", "is_dnli", "read_dnli"]


class DnliCandidates(Record, frozen=True):
    """The candidate replies of a row."""

    label: tuple[Words, ...]  # what was said
    neg: tuple[Words, ...]  # contradicts the persona, by human label
    similar: tuple[Words, ...]  # is entailed by the persona, by human label
    rand: tuple[Words, ...]  # nobody labelled these

    def __post_init__(self) -> None:
        both = sorted({*self.neg} & {*self.similar})
        if both:
            raise InputError(f"Expected one label for a reply, got {both[0]!r:.40} in neg and similar: choose one.")


class DnliRow(Record, frozen=True):
    """Sentences about a person, what was said, oldest first and the other side last, and candidate replies."""

    persona: Annotated[tuple[Words, ...], Meta(min_length=1)]
    prefix: tuple[Words, ...]
    candidates: DnliCandidates
    eval_labels: object = None
    triple: object = None
    relevant_persona_sentence: object = None

    def as_persona(self, persona_id: str | None = None) -> Persona:
        """Returns the person as a chat partner; without an id given it follows from the description."""
        description = "\n".join(self.persona)
        digest = hashlib.blake2b(description.encode(), digest_size=6).hexdigest()
        return Persona(persona_id or f"chat_partner/{digest}", "chat_partner", "", description)


def is_dnli(value: object) -> bool:
    """Returns whether a decoded line looks like one of the set."""
    return isinstance(value, dict) and {"persona", "prefix", "candidates"} <= value.keys()


def read_dnli(path: str | Path) -> Iterator[DnliRow]:
    """Yields the rows of a file; a `FileError` says what is wrong in it."""
    first_byte(path)
    return (row for _, row in json_lines(path, DnliRow))
