"""Persona files: ours, the three shapes of the released ones, Dialogue NLI and Synthetic-Persona-Chat."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from persona_env.io.dnli import is_dnli, read_dnli_row
from persona_env.io.nodes import LogError, Node
from persona_env.io.released import plain_text, scene
from persona_env.io.strict_json import array_nodes, first_byte, json_text, line_nodes, write_lines
from persona_env.io.synthetic_persona_chat import read_chats
from persona_env.persona import Fact, Persona, QAItem
from persona_env.roles import ROLES

__all__ = ["SPLITS", "load_personas", "persona_fields", "read_persona", "save_personas"]

SPLITS = ("train", "dev", "heldout")

_TENTHS = ("train",) * 8 + ("dev", "heldout")


def load_personas(path: str | Path, split: str | None = None) -> list[Persona]:
    """Returns the personas of a file.

    Our own files are a JSON array or JSONL of objects with the fields of `Persona` and, if you like,
    `split`. The released files of the three roles are told by their shapes; so are Dialogue NLI (JSONL) and
    Synthetic-Persona-Chat (CSV), whose people are chat partners without questions: a row of the one is
    one person, a row of the other two.

    Args:
        path: The file.
        split: Only those of `train`, `dev` or `heldout`. Where the file names no splits, of each
            ten different descriptions the first eight are `train`, the ninth `dev`, the tenth
            `heldout`, so that nobody is in two of them.

    Returns:
        At least one persona; ids are distinct.

    Raises:
        LogError: If the file is no persona file, or has nobody in that split.
    """
    if split is not None and split not in SPLITS:
        raise LogError(f"Expected a split {', '.join(SPLITS)} or None, got {split!r}: choose one of these.")
    people, splits = _checked(list(_people(path)), path)
    chosen = [person for person, its in zip(people, splits, strict=True) if split in (None, its)]
    if not chosen:
        raise LogError(f"Expected personas of the split {split!r} in {path}, got none: give some that split.")
    return chosen


def _people(path: str | Path) -> Iterator[tuple[Persona, str | None]]:
    byte = first_byte(path)
    if byte not in (b"[", b"{") and Path(path).suffix.lower() == ".csv":
        yield from ((person, None) for row in read_chats(path) for person in row.people)
        return
    nodes = array_nodes(path, "persona") if byte == b"[" else line_nodes(path)
    stem = Path(path).stem
    for number, node in enumerate(nodes):
        yield _person(node, f"{stem}/{number:04d}")


def _checked(found: list[tuple[Persona, str | None]], path: str | Path) -> tuple[list[Persona], list[str]]:
    if not found:
        raise LogError(f"Expected personas in {path}, got none: name another file.")
    seen = set[str]()
    for person, _ in found:
        if person.id in seen:
            raise LogError(f"Expected distinct persona ids in {path}, got {person.id!r} twice: rename one.")
        seen.add(person.id)
    named = [split for _, split in found if split is not None]
    if named and len(named) < len(found):
        raise LogError(f"Expected a split for every persona in {path} or for none, got {len(named)}: add the rest.")
    people = [person for person, _ in found]
    return people, named or _by_tenths(people)


def _by_tenths(people: Iterable[Persona]) -> list[str]:
    places: dict[str, int] = {}
    return [_TENTHS[places.setdefault(person.description, len(places)) % 10] for person in people]


def _person(node: Node, name: str) -> tuple[Persona, str | None]:
    if isinstance(node.value, list):
        return _released_student(node, name), None
    if is_dnli(node):
        return replace(read_dnli_row(node).persona, id=name), None
    fields = node.fields()
    if "conversation" in fields or "messages" in fields:
        raise node.fail("a persona", "this is a log of dialogues: read it with load_logs", got="a dialogue")
    if set(fields) == {"persona", "name"}:
        text = plain_text(node.field("persona").text(empty=False))
        return Persona(name, "chat_partner", node.field("name").text(), text), None
    if set(fields) == {"description", "strategy"}:
        texts = (node.field(key).text(empty=False).strip() for key in ("description", "strategy"))
        return Persona(name, "patient", "", "\n\n".join(texts)), None
    split = node.get("split")
    if split is not None and split.value not in SPLITS:
        raise split.fail(f"one of {', '.join(SPLITS)}")
    return read_persona(node, "split"), split.text() if split else None


def _released_student(node: Node, name: str) -> Persona:
    topic, student = node.items(2)
    student.only("grade_level", "description")
    where = scene(topic.text(empty=False), student.field("grade_level").text())
    return Persona(name, "student", "", student.field("description").text(empty=False), scene=where)


def read_persona(node: Node, *extra: str) -> Persona:
    """Returns a persona from an object with the fields of `Persona`, and perhaps some `extra`."""
    node.only(*Persona.__dataclass_fields__, *extra)
    role = node.field("role")
    if role.text() not in ROLES:
        raise role.fail(f"one of {', '.join(ROLES)}")
    return Persona(
        id=node.field("id").text(empty=False),
        role=role.text(),
        name=node.field("name").text(),
        description=node.field("description").text(empty=False),
        facts=tuple(_fact(item) for item in node.items_of("facts")),
        hidden=node.texts_of("hidden"),
        questions=tuple(_question(item) for item in node.items_of("questions")),
        scene=node.text_of("scene"),
    )


def _fact(node: Node) -> Fact:
    node.only("key", "value", "text")
    key = node.field("key").text(empty=False)
    return Fact(key, node.field("value").text(), node.text_of("text"))


def _question(node: Node) -> QAItem:
    node.only(*QAItem.__dataclass_fields__)
    fields = (
        node.field("gold").text(),
        node.field("wordings").texts(),
        node.texts_of("held_out_wordings"),
        node.texts_of("choices"),
        node.text_of("key"),
    )
    try:
        return QAItem(*fields)
    except ValueError as error:
        raise LogError(f"{error} (at {node.place})") from None


def persona_fields(persona: Persona, split: str | None = None) -> dict[str, object]:
    """Returns a persona as the object that `read_persona` reads; what is empty is left out."""
    fields: dict[str, object] = {
        "id": persona.id,
        "role": persona.role,
        "name": persona.name,
        "split": split,
        "description": persona.description,
        "scene": persona.scene,
        "facts": [{"key": fact.key, "value": fact.value, "text": fact.text} for fact in persona.facts],
        "hidden": persona.hidden,
        "questions": [_question_fields(item) for item in persona.questions],
    }
    return {k: value for k, value in fields.items() if k == "name" or value not in ("", None, [], ())}


def _question_fields(item: QAItem) -> dict[str, object]:
    fields: dict[str, object] = {name: getattr(item, name) for name in QAItem.__dataclass_fields__}
    return {key: value for key, value in fields.items() if value not in ("", ())}


def save_personas(path: str | Path, people: Sequence[Persona], splits: Sequence[str] | None = None) -> int:
    """Writes a persona file of ours (JSONL), whole or not at all, and returns how many it holds.

    Args:
        path: The file; one of that name is replaced.
        people: The personas.
        splits: The split of each; None leaves them out.

    Raises:
        LogError: If there is nobody, the splits do not fit, or the file cannot be written.
    """
    if not people:
        raise LogError("Expected personas to write, got none: a file holds at least one.")
    if splits is not None and (len(splits) != len(people) or not set(splits) <= set(SPLITS)):
        raise LogError(
            f"Expected {len(people)} splits out of {', '.join(SPLITS)}, got {splits!r:.50}: name each one's."
        )
    of_each = splits or [None] * len(people)
    rows = (persona_fields(person, split) for person, split in zip(people, of_each, strict=True))
    return write_lines(path, (json_text(row) for row in rows))
