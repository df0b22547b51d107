"""The evaluation set of Dialogue NLI: personas, the start of a dialogue, and replies with human labels.

JSONL; each line holds a persona (sentences), a dialogue up to the reply, and candidate replies: the one that
was said (`label`), some that contradict the persona (`neg`), some that it entails (`similar`) and random ones
(`rand`), which nobody labelled.

Source: Welleck et al., "Dialogue Natural Language Inference" (2019), arXiv 1811.00671, section 5.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from persona_env.io.nodes import Node
from persona_env.io.strict_json import first_byte, line_nodes
from persona_env.persona import Persona

__all__ = ["DnliRow", "is_dnli", "read_dnli", "read_dnli_row"]

_FIELDS = ("persona", "prefix", "eval_labels", "triple", "candidates", "relevant_persona_sentence")
_CANDIDATES = ("label", "neg", "similar", "rand")


@dataclass(frozen=True, slots=True)
class DnliRow:
    """One dialogue up to a reply, with its candidate replies.

    Attributes:
        persona: Whose reply it is; its id follows from its description, so the same person has one id.
        prefix: What was said before, oldest first; the last line is the other side's.
        said: The reply that was said.
        entailed: Replies that agree with the persona, by human label.
        contradicting: Replies that contradict it, by human label.
        unlabelled: Random replies.
        place: Where it stands, for messages.
    """

    persona: Persona
    prefix: tuple[str, ...]
    said: tuple[str, ...]
    entailed: tuple[str, ...]
    contradicting: tuple[str, ...]
    unlabelled: tuple[str, ...]
    place: str = ""


def is_dnli(node: Node) -> bool:
    """Returns whether a line looks like one of the set."""
    return isinstance(node.value, dict) and {"persona", "prefix", "candidates"} <= set(node.fields())


def read_dnli(path: str | Path) -> Iterator[DnliRow]:
    """Yields the rows of a file.

    Raises:
        LogError: If the file is not of this set, holds nothing, or something in it is wrong.
    """
    first_byte(path)
    for node in line_nodes(path):
        yield read_dnli_row(node)


def read_dnli_row(node: Node) -> DnliRow:
    """Returns one row.

    Raises:
        LogError: If it is none; one line that names the field.
    """
    if not is_dnli(node):
        raise node.fail("a row of Dialogue NLI, with persona, prefix and candidates", "name another file")
    node.only(*_FIELDS)
    candidates = node.field("candidates")
    candidates.only(*_CANDIDATES)
    said, against, entailed, random = (_lines(candidates.field(name)) for name in _CANDIDATES)
    torn = sorted(set(against) & set(entailed))
    if torn:
        raise candidates.fail("replies with one label each", got=f"{torn[0]!r:.40} in neg and similar")
    return DnliRow(_persona(node), _lines(node.field("prefix")), said, entailed, against, random, node.place)


def _lines(node: Node) -> tuple[str, ...]:
    return tuple(item.text(empty=False) for item in node.items())


def _persona(node: Node) -> Persona:
    sentences = _lines(node.field("persona"))
    if not sentences:
        raise node.field("persona").fail("at least one sentence", got="none")
    description = "\n".join(sentences)
    digest = hashlib.blake2b(description.encode(), digest_size=6).hexdigest()
    return Persona(f"chat_partner/{digest}", "chat_partner", "", description)
