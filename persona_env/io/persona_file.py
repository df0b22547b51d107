"""Persona files: ours, the three shapes of the released ones, Dialogue NLI and Synthetic-Persona-Chat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from persona_env.io.atomic import record_fields, write_jsonl
from persona_env.io.dnli import DnliRow, is_dnli
from persona_env.io.json_files import FileError, Record, Text, Words, converted, first_byte, json_array, json_lines
from persona_env.io.released import plain_text, scene
from persona_env.io.synthetic_persona_chat import read_chats
from persona_env.persona import Persona
from persona_env.roles import ROLES

__all__ = ["SPLITS", "load_personas", "save_personas"]

SPLITS = ("train", "dev", "heldout")

_ITEM: Any = list[Any] | dict[str, Any]
_TENTHS = ("train",) * 8 + ("dev", "heldout")


class _ReleasedPatient(Record, frozen=True):
    description: Words
    strategy: Words


class _ReleasedChatPartner(Record, frozen=True):
    persona: Words
    name: Text


class _ReleasedStudent(Record, frozen=True):
    grade_level: Text
    description: Words


def load_personas(path: str | Path, split: str | None = None) -> list[Persona]:
    """Returns the personas of a file.

    Our own files are a JSON array or JSONL of objects with the fields of `Persona` and, if you like,
    `split`. The released files of the three roles are told by their shapes; so are Dialogue NLI (JSONL, a persona a
    row) and Synthetic-Persona-Chat (CSV, two a row), whose personas are chat partners without questions.

    With `split` only those of `train`, `dev` or `heldout`. Where the file names no splits, of each ten different
    descriptions the first eight are `train`, the ninth `dev`, the tenth `heldout`: no persona is in two of them.

    Raises:
        FileError: If the file is no persona file, or has no persona in that split.
    """
    if split is not None and split not in SPLITS:
        raise FileError(f"Expected a split {', '.join(SPLITS)} or None, got {split!r}: choose one of these.")
    personas, splits = _checked([*_read(path)], path)
    chosen = [persona for persona, its in zip(personas, splits, strict=True) if split in (None, its)]
    if not chosen:
        raise FileError(f"Expected personas of the split {split!r} in {path}, got none: give some that split.")
    return chosen


def _read(path: str | Path) -> Iterator[tuple[Persona, str | None]]:
    byte = first_byte(path)
    if byte not in (b"[", b"{") and Path(path).suffix.lower() == ".csv":
        yield from ((persona, None) for chat in read_chats(path) for persona in chat.personas)
        return
    items = json_array(path, _ITEM, "persona") if byte == b"[" else json_lines(path, _ITEM)
    for number, (place, value) in enumerate(items):
        yield _persona(value, f"{Path(path).stem}/{number:04d}", place)


def _checked(found: list[tuple[Persona, str | None]], path: str | Path) -> tuple[list[Persona], list[str]]:
    if not found:
        raise FileError(f"Expected personas in {path}, got none: name another file.")
    personas = [persona for persona, _ in found]
    ((twice, count),) = Counter(persona.id for persona in personas).most_common(1)
    if count > 1:
        raise FileError(f"Expected distinct persona ids in {path}, got {twice!r} twice: rename one.")
    named = [split for _, split in found if split is not None]
    if named and len(named) < len(found):
        raise FileError(f"Expected a split for every persona in {path} or for none, got {len(named)}: add the rest.")
    different = list(dict.fromkeys(persona.description for persona in personas))
    tenths = {description: _TENTHS[place % 10] for place, description in enumerate(different)}
    return personas, named or [tenths[persona.description] for persona in personas]


def _persona(value: list[Any] | dict[str, Any], name: str, place: str) -> tuple[Persona, str | None]:
    """Returns the persona of an item, and its split if it has one; `name` is the id where the item has none."""
    if isinstance(value, list):
        topic, student = converted(value, tuple[Words, _ReleasedStudent], place)
        return Persona(name, "student", "", student.description, scene=scene(topic, student.grade_level)), None
    if is_dnli(value):
        return converted(value, DnliRow, place).as_persona(name), None
    if "conversation" in value or "messages" in value:
        raise FileError(f"Expected a persona at {place}, got a dialogue: this is a log, read it with load_logs.")
    if value.keys() == {"persona", "name"}:
        partner = converted(value, _ReleasedChatPartner, place)
        return Persona(name, "chat_partner", partner.name, plain_text(partner.persona)), None
    if value.keys() == {"description", "strategy"}:
        patient = converted(value, _ReleasedPatient, place)
        text = f"{patient.description.strip()}\n\n{patient.strategy.strip()}"
        return Persona(name, "patient", "", text), None
    split = value.pop("split", None)
    if split is not None and split not in SPLITS:
        raise FileError(f"Expected one of {', '.join(SPLITS)} at {place}, $.split, got {split!r:.40}: correct it.")
    persona = converted(value, Persona, place)
    if persona.role not in ROLES:
        known = f"a role out of {', '.join(ROLES)} at {place}"
        raise FileError(f"Expected {known}, got {persona.role!r:.40}: name one, or register it.")
    return persona, split


def save_personas(path: str | Path, personas: Sequence[Persona], splits: Sequence[str] | None = None) -> int:
    """Writes a persona file of ours (JSONL), with a split for each if given, whole or not at all; returns how many."""
    if splits is None:
        return write_jsonl(path, personas)
    if len(splits) != len(personas) or not {*splits} <= {*SPLITS}:
        known = ", ".join(SPLITS)
        raise FileError(f"Expected {len(personas)} splits out of {known}, got {splits!r:.50}: name one for each.")
    rows: Any = map(record_fields, personas)
    return write_jsonl(path, (row | {"split": split} for row, split in zip(rows, splits, strict=True)))
