"""A JSON value and its place in a file: what is wrong with it is said in one line that names the place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeGuard, cast

from persona_env.errors import InputError, shown

__all__ = ["MAX_TEXT", "LogError", "Node", "is_plain", "is_utf8"]

MAX_TEXT = 100_000
"""Characters of one text; the longest line, persona or reply seen in real logs has 4 000."""


class LogError(InputError):
    """A file that is not what it should be: one line that names the file and the place in it."""


def is_utf8(text: str) -> bool:
    """Returns whether UTF-8 can hold a text: no half of a surrogate pair stands in it."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def is_plain(value: object) -> TypeGuard[str]:
    """Returns whether a value is a text that needs no closer look: short enough, and ASCII."""
    return isinstance(value, str) and len(value) <= MAX_TEXT and value.isascii()


@dataclass(slots=True, eq=False)  # not frozen: a log has millions of them, and freezing doubles their cost
class Node:
    """A JSON value and where it stands, with readers that refuse what is not expected.

    Attributes:
        value: What `json` made of it.
        name: The step that leads here: a file and line, a dialogue, a field, or the place in a list as a number.
        parent: What it stands in, if anything.

    >>> Node({"index": "3"}, "log.json").field("index").whole()
    Traceback (most recent call last):
    ...
    persona_env.io.nodes.LogError: Expected a whole number at log.json, index, got '3': correct the file.
    """

    value: object
    name: str | int
    parent: Node | None = None

    @property
    def place(self) -> str:
        """The way here from the file."""
        step = f"[{self.name}]" if isinstance(self.name, int) else self.name
        if self.parent is None:
            return step
        return f"{self.parent.place}{'' if step.startswith('[') else ', '}{step}"

    def fail(self, expected: str, hint: str = "correct the file", got: str | None = None) -> LogError:
        """Returns the error that says what was expected here."""
        return LogError(f"Expected {expected} at {self.place}, got {got or shown(self.value)}: {hint}.")

    def text(self, *, empty: bool = True) -> str:
        """Returns the text here.

        Raises:
            LogError: If it is no text, too long, empty where it must not be, or UTF-8 cannot hold it.
        """
        if empty and is_plain(self.value):
            return self.value
        if not isinstance(self.value, str):
            raise self.fail("a text")
        if len(self.value) > MAX_TEXT:
            raise self.fail(f"a text of at most {MAX_TEXT} characters", got=f"{len(self.value)}")
        if not (empty or self.value.strip()):
            raise self.fail("a text with words in it")
        if not is_utf8(self.value):
            raise self.fail("a text that UTF-8 can hold", got="half of a surrogate pair")
        return self.value

    def whole(self) -> int:
        """Returns the whole number here."""
        if not isinstance(self.value, int) or isinstance(self.value, bool):
            raise self.fail("a whole number")
        return self.value

    def number(self) -> float:
        """Returns the number here, which is finite: nothing else is read."""
        if isinstance(self.value, bool) or not isinstance(self.value, (int, float)):
            raise self.fail("a number")
        return float(self.value)

    def items(self, count: int | None = None) -> list[Node]:
        """Returns the items of the list here, which has `count` of them where that is given."""
        found = self.value
        if not isinstance(found, list):
            raise self.fail("a list")
        values = cast(list[object], found)
        if count is not None and len(values) != count:
            raise self.fail(f"a list of {count}", got=f"{len(values)} items")
        return [Node(value, place, self) for place, value in enumerate(values)]

    def fields(self) -> Mapping[str, object]:
        """Returns the object here."""
        found = self.value
        if not isinstance(found, dict):
            raise self.fail("an object")
        return cast(dict[str, object], found)

    def get(self, key: str) -> Node | None:
        """Returns a field of the object here, or None where there is none of that name."""
        found = self.value
        if not isinstance(found, dict):
            raise self.fail("an object")
        return Node(found[key], key, self) if key in found else None  # pyright: ignore[reportUnknownArgumentType]

    def field(self, key: str) -> Node:
        """Returns a field of the object here.

        Raises:
            LogError: If there is none of that name.
        """
        node = self.get(key)
        if node is None:
            raise LogError(f"Expected the field {key!r} at {self.place}, got none of that name: correct the file.")
        return node

    def items_of(self, key: str) -> list[Node]:
        """Returns the items of a list field of the object here; none where there is no such field."""
        found = self.value
        if isinstance(found, dict) and key not in found:
            return []
        return self.field(key).items()

    def text_of(self, key: str) -> str:
        """Returns a text field of the object here; "" where there is no such field."""
        fields = self.value
        if isinstance(fields, dict):  # what most fields are, without a node of their own
            plain = cast("dict[str, object]", fields).get(key, "")
            if is_plain(plain):
                return plain
        found = self.get(key)
        return found.text() if found else ""

    def texts_of(self, key: str) -> tuple[str, ...]:
        """Returns the texts of a list field of the object here; none where there is no such field."""
        found = self.get(key)
        return found.texts() if found else ()

    def only(self, *known: str) -> None:
        """Checks that the object here has no other fields than these."""
        for key in self.fields():
            if key not in known:
                raise LogError(f"Expected one of {', '.join(known)} at {self.place}, got {shown(key)}: correct it.")

    def texts(self) -> tuple[str, ...]:
        """Returns the texts of the list here."""
        found = self.value
        if isinstance(found, list) and all(map(is_plain, cast("list[object]", found))):
            return tuple(cast("list[str]", found))
        return tuple(node.text() for node in self.items())
