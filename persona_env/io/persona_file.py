"""Persona files: ours, those of published sets, tables, and plain lists of texts."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from persona_env.io.atomic import record_fields, write_jsonl
from persona_env.io.dnli import DnliRow, is_dnli
from persona_env.io.json_files import FileError, Record, Text, Words, converted, first_byte, json_array, json_lines
from persona_env.io.released import plain_text, scene
from persona_env.io.synthetic_persona_chat import COLUMNS, read_chats
from persona_env.io.text_files import table_rows, text_lines
from persona_env.persona import Persona
from persona_env.roles import ROLES, role_key

__all__ = ["SPLITS", "load_personas", "names_splits", "save_personas"]

SPLITS = ("train", "dev", "heldout")

_ROLE = "chat_partner"
_TEXTS = ("persona", "personality", "profile", "input persona")
_TABLE = ("id", "name", "role", "scene", "split")
_ITEM: Any = str | list[Any] | dict[str, Any]
_WORDS: Any = Words
_SENTENCES: Any = Words | tuple[Words, ...]
_BULLET = re.compile(r"(?:[-*\u2022]|\d+[.)])\s+")
_PERSONA_CHAT = re.compile(r"(?P<number>\d*) ?(?P<side>your|partner's) persona:\s*")
_WORD = re.compile(r"[^\W_]+")
_NAME = re.compile(r"\A\s*(?:you are|you're|i am|i'm|my name is|your name is) ([^\W\d_]+)(?=[.,])")
_MUCH = 5  # words that say who somebody is
_TENTHS = ("train",) * 8 + ("dev", "heldout")


class _ReleasedPatient(Record, frozen=True):
    description: Words
    strategy: Words


class _ReleasedStudent(Record, frozen=True):
    grade_level: Text
    description: Words


def load_personas(path: str | Path, split: str | None = None, role: str | None = None) -> list[Persona]:
    """Returns the personas of a file.

    - Ours: a JSON array or JSONL of objects with the fields of `Persona` and, if you like, `split`. Only `description`
      must be there.
    - Texts: JSON strings, objects with a `persona` or `personality` (a text, or a list of sentences; PersonaHub), the
      lines of a text file, or its paragraphs if there are blank lines between some of more than one line.
    - PersonaChat: a text with lines `your persona: ...`.
    - Tables: CSV, also with other separators, with a column `persona`, `personality` or `description`.
    - The released files of arXiv 2511.00222, Dialogue NLI and Synthetic-Persona-Chat, told by their shapes.

    A persona whose file names no role has `role`, if given, or is a chat partner. With `split` only those of `train`,
    `dev` or `heldout`. Where the file names no splits, of each ten different descriptions the first eight are `train`,
    the ninth `dev`, the tenth `heldout`; of 3 to 9 the last is `heldout` and the one before `dev`. No description is in
    two splits, whatever its letter case, punctuation and the name in it: held-out personas are unseen.

    Raises:
        FileError: If the file is no persona file, or has no persona in that split.
    """
    if split is not None and split not in SPLITS:
        raise FileError(f"Expected a split {', '.join(SPLITS)} or None, got {split!r}: choose one of these.")
    personas, splits = _checked([*_read(path, role)], path)
    chosen = [persona for persona, its in zip(personas, splits, strict=True) if split in (None, its)]
    if not chosen:
        raise FileError(
            f"Expected personas of the split {split!r} in {path}, got none: give some that split, or at least three "
            "personas without splits."
        )
    return chosen


def names_splits(path: str | Path) -> bool:
    """Returns whether a persona file says which split each persona is in."""
    return any(split is not None for _, split in _read(path, None))


def _read(path: str | Path, role: str | None) -> Iterator[tuple[Persona, str | None]]:
    byte, suffix = first_byte(path), Path(path).suffix.lower()
    if byte not in (b"[", b"{") and suffix in (".csv", ".tsv"):
        rows = table_rows(path)
        first = next(rows, None)
        if first is None:
            return
        if {*COLUMNS} <= first[1].keys():
            yield from ((persona, None) for chat in read_chats(path) for persona in chat.personas)
            return
        items: Iterator[tuple[str, Any]] = ((place, _of_table(row)) for place, row in itertools.chain([first], rows))
    elif byte in (b"[", b"{") or suffix in (".json", ".jsonl"):
        items = json_array(path, _ITEM, "persona") if byte == b"[" else json_lines(path, _ITEM)
    else:
        items = ((str(path), text) for text in _texts(text_lines(path)))
    for number, (place, value) in enumerate(items):
        yield _persona(value, f"{Path(path).stem}/{number:04d}", place, role)


def _of_table(row: dict[str, str]) -> dict[str, str]:
    """Returns the columns of a row that say something of a persona; `Persona` and the like are written small."""
    known = {name.casefold(): value for name, value in row.items() if value.strip()}
    return {name: known[name] for name in ("description", *_TEXTS, *_TABLE) if name in known} or known


def _texts(lines: list[str]) -> Iterable[str]:
    """Returns the personas of a text: of PersonaChat, by paragraph, or by line."""
    if any(map(_PERSONA_CHAT.match, lines)):
        return dict.fromkeys(_persona_chats(lines))  # a persona has many dialogues there
    paragraphs = re.split(r"\n\n+", "\n".join(lines).strip())
    plain = [_BULLET.sub("", line) for line in lines if line]
    by_paragraph = 1 < len(paragraphs) < len(plain) and not any(map(_BULLET.match, lines))
    return paragraphs if by_paragraph else plain


def _persona_chats(lines: list[str]) -> Iterator[str]:
    """Yields the personas of PersonaChat: neighbouring lines of one side; the number 1 begins another dialogue."""
    sentences, before = list[str](), ("", 0)
    for line in [*lines, ""]:
        match = _PERSONA_CHAT.match(line)
        now = (match["side"], int(match["number"] or 0)) if match else ("", 0)
        if sentences and (now[0] != before[0] or 0 < now[1] <= before[1]):
            yield "\n".join(sentences)
            sentences = []
        sentences += [line[match.end() :]] if match else []
        before = now


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
    return personas, _splits(personas, named, path)


def _splits(personas: list[Persona], named: list[str], path: str | Path) -> list[str]:
    """Returns the split of each persona; one description is in one split (see `_told`)."""
    texts = [_told(persona) for persona in personas]
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    few = ("train",) * (len(places) - 2) + ("dev", "heldout")
    splits = named or [few[places[text]] if 2 < len(few) < 10 else _TENTHS[places[text] % 10] for text in texts]
    first = dict[str, str]()
    for persona, text, split in zip(personas, texts, splits, strict=True):
        if first.setdefault(text, split) != split:
            raise FileError(
                f"Expected a description in one split only in {path}, got that of {persona.id!r} in {first[text]} "
                f"and {split}: what is measured must not be trained on."
            )
    return splits


def _told(persona: Persona) -> str:
    """Returns what makes two descriptions the same: the words, whatever their case, punctuation and the name.

    Where little is said besides the name, it counts: "You are Ann" and "You are Bo" are two.
    """
    plain = unicodedata.normalize("NFKC", persona.description).casefold()
    said = _WORD.findall("".join(c for c in plain if unicodedata.category(c) != "Cf"))  # a zero-width one hides nothing
    name = {*_WORD.findall(persona.name.casefold()), *_NAME.findall(plain)}
    rest = [word for word in said if word not in name]
    return " ".join(rest if len(rest) >= _MUCH else said)


def _persona(value: Any, name: str, place: str, role: str | None) -> tuple[Persona, str | None]:
    """Returns the persona of an item, and its split if it has one; `name` is the id where the item has none."""
    if isinstance(value, str):
        return Persona(name, role or _ROLE, "", converted(value, _WORDS, place)), None
    if isinstance(value, list):
        parts = cast("list[object]", value)
        if all(isinstance(part, str) for part in parts):
            return _persona("\n".join(map(str, parts)), name, place, role)
        topic, student = converted(parts, tuple[Words, _ReleasedStudent], place)
        return Persona(name, "student", "", student.description, scene=scene(topic, student.grade_level)), None
    if is_dnli(value):
        return converted(value, DnliRow, place).as_persona(name), None
    if "conversation" in value or "messages" in value:
        raise FileError(f"Expected a persona at {place}, got a dialogue: this is a log, read it with load_logs.")
    if value.keys() == {"description", "strategy"}:
        patient = converted(value, _ReleasedPatient, place)
        text = f"{patient.description.strip()}\n\n{patient.strategy.strip()}"
        return Persona(name, "patient", "", text), None
    if "description" in value:
        return _ours(value, name, place, role)
    for key in _TEXTS:
        if key in value:
            text: str | tuple[str, ...] = converted(value[key], _SENTENCES, f"{place}, $.{key}")
            text = plain_text(text) if isinstance(text, str) else "\n".join(text)
            said = {field: str(value[field]) for field in _TABLE if value.get(field) not in (None, "")}
            return _ours({**said, "description": text}, name, place, role)
    known = ", ".join([*_TEXTS, "description"])
    raise FileError(f"Expected a field among {known} at {place}, got {', '.join(value)!r:.60}: name the text so.")


def _ours(value: dict[str, Any], name: str, place: str, role: str | None) -> tuple[Persona, str | None]:
    split = value.pop("split", None)
    if split is not None and split not in SPLITS:
        raise FileError(f"Expected one of {', '.join(SPLITS)} at {place}, $.split, got {split!r:.40}: correct it.")
    persona = converted({"id": name, "role": role or _ROLE, "name": "", **value}, Persona, place)
    key = role_key(persona.role)
    if key not in ROLES:
        known = f"a role out of {', '.join(ROLES)} at {place}"
        raise FileError(f"Expected {known}, got {persona.role!r:.40}: name one, or register it.")
    return replace(persona, role=key), split


def save_personas(path: str | Path, personas: Sequence[Persona], splits: Sequence[str] | None = None) -> int:
    """Writes a persona file of ours (JSONL), with a split for each if given, whole or not at all; returns how many."""
    if splits is None:
        return write_jsonl(path, personas)
    if len(splits) != len(personas) or not {*splits} <= {*SPLITS}:
        known = ", ".join(SPLITS)
        raise FileError(f"Expected {len(personas)} splits out of {known}, got {splits!r:.50}: name one for each.")
    rows: Any = map(record_fields, personas)
    return write_jsonl(path, (row | {"split": split} for row, split in zip(rows, splits, strict=True)))
