"""The judge's prompts: TOML files that a person can read and replace, two prompts for each kind of query."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

from persona_env.errors import InputError, printable
from persona_env.judges.backend import JudgePrompt, Polarity
from persona_env.judges.base import AnswerVsGold, LineVsHistory, LineVsPersona, LineVsPrevious, Query
from persona_env.judges.sanitize import PLACEHOLDER, as_json, fill
from persona_env.roles import BUNDLED, ROLES, Role, role_named

__all__ = ["PLACEHOLDERS", "JudgePrompts", "RolePrompts", "Wording"]

PLACEHOLDERS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "line_vs_persona": (frozenset({"persona", "line"}), frozenset({"heard"})),
    "line_vs_history": (frozenset({"earlier", "line"}), frozenset()),
    "line_vs_earlier": (frozenset({"before", "line"}), frozenset()),
    "answer_vs_gold": (frozenset({"question", "gold", "answer"}), frozenset({"choices"})),
    "line_vs_previous": (frozenset({"heard", "line"}), frozenset({"persona"})),
}
"""For each kind of query the placeholders that its text must have, and those that it may have."""

_PARTS = ("shown", "negative", "positive")


@dataclass(frozen=True, slots=True)
class Wording:
    """How one kind of query is put to a model.

    Attributes:
        shown: What the judge is shown, with placeholders.
        negative: The first question; A says that something speaks against the line.
        positive: The second, the other way round; A says that everything speaks for the line.
    """

    shown: str
    negative: str
    positive: str


@dataclass(frozen=True, slots=True)
class RolePrompts:
    """The judge prompts of one role.

    Attributes:
        system: The instruction.
        wordings: For each kind of query (a key of `PLACEHOLDERS`) its wording.
    """

    system: str
    wordings: Mapping[str, Wording]

    @classmethod
    def parse(cls, tables: Mapping[str, Any], path: object) -> RolePrompts:
        """Returns the prompts in a parsed TOML file.

        Args:
            tables: What the file holds.
            path: Where it stands, for error messages.

        Raises:
            InputError: If it cannot be used; names the file and the key.
        """
        for key in tables:
            if key != "system" and key not in PLACEHOLDERS:
                known = ", ".join(PLACEHOLDERS)
                raise InputError(f"Expected system and {known} in {path}, got {key!r}: remove or rename it.")
        system = _text(tables, "system", path)
        if PLACEHOLDER.search(system):
            raise InputError(
                f"Expected system in {path} without placeholders, got one: texts of others never stand there."
            )
        return cls(system, {kind: _wording(tables.get(kind), kind, path) for kind in PLACEHOLDERS})


@dataclass(frozen=True)
class JudgePrompts:
    """The judge prompts of the roles that are built in or replaced; any other role brings its own or gets general ones.

    Attributes:
        roles: The prompts of each of these roles.

    >>> prompts = JudgePrompts.load()
    >>> negative, positive = prompts.both(AnswerVsGold("patient", "How do you sleep?", "badly", "{gold} </s>"))
    >>> '"{gold} < /s>"' in negative.user, negative.polarity, positive.polarity
    (True, 'negative', 'positive')
    """

    roles: Mapping[str, RolePrompts]

    @classmethod
    def load(cls, folder: str | Path | None = None) -> JudgePrompts:
        """Returns our prompts, or those of a folder; a role that the folder has no file for is asked in our words.

        Args:
            folder: With `<role>.toml` for some roles, written as ours are.

        Raises:
            InputError: If there is no such file, or one of them cannot be used; names the file and the key.
        """
        given = {} if folder is None else _files(Path(folder))
        ours = {role: _prompts_of(role_named(role)) for role in BUNDLED if role not in given}
        return cls(ours | {role: RolePrompts.parse(_tables(path), path) for role, path in given.items()})

    @property
    def digest(self) -> str:
        """SHA-256 of all texts."""
        texts = {
            role: [prompts.system, {kind: [w.shown, w.negative, w.positive] for kind, w in prompts.wordings.items()}]
            for role, prompts in self.roles.items()
        }
        return sha256(json.dumps(texts, sort_keys=True).encode("ascii")).hexdigest()

    def __contains__(self, role: str) -> bool:
        return role in self.roles or role in ROLES

    def both(self, query: Query) -> tuple[JudgePrompt, JudgePrompt]:
        """Returns the two prompts of a query, of opposite polarity.

        Raises:
            InputError: If there is no such role, or its prompts cannot be used.
        """
        match query:
            case LineVsPersona(persona, line, heard):
                texts = {"persona": as_json(persona.prompt), "line": as_json(line), "heard": as_json(heard)}
                return self._pair(persona.role, "line_vs_persona", texts)
            case LineVsPrevious(persona, heard, line):
                texts = {"persona": as_json(persona.prompt), "line": as_json(line), "heard": as_json(heard)}
                return self._pair(persona.role, "line_vs_previous", texts)
            case LineVsHistory(role, line, earlier):
                numbered = "\n".join(f"{number}: {as_json(text)}" for number, text in enumerate(earlier, 1))
                texts = {"earlier": numbered, "line": as_json(line)}
                return self._pair(role, "line_vs_history", texts, len(earlier))
            case AnswerVsGold(role, question, gold, answer, choices):
                texts = {"question": as_json(question), "gold": as_json(gold), "answer": as_json(answer)}
                texts["choices"] = f"[{', '.join(map(as_json, choices))}]"
                return self._pair(role, "answer_vs_gold", texts)

    def per_earlier_line(self, query: LineVsHistory) -> list[tuple[JudgePrompt, JudgePrompt]]:
        """Returns two prompts for each earlier line, for a model that cannot answer with a list."""
        line = as_json(query.line)
        return [
            self._pair(query.role, "line_vs_earlier", {"before": as_json(before), "line": line})
            for before in query.earlier
        ]

    def _pair(self, role: str, kind: str, texts: Mapping[str, str], items: int = 0) -> tuple[JudgePrompt, JudgePrompt]:
        prompts = self.roles[role] if role in self.roles else _prompts_of(role_named(role))
        wording = prompts.wordings[kind]
        shown = fill(wording.shown, texts)

        def prompt(polarity: Polarity, question: str) -> JudgePrompt:
            # The question comes first, so that both prompts end alike: a clueless model answers both alike.
            return JudgePrompt(polarity, prompts.system, f"{question}\n\n{shown}", items)

        return prompt("negative", wording.negative), prompt("positive", wording.positive)


def _files(folder: Path) -> dict[str, Path]:
    """Returns the prompt file of each role that a folder has one for."""
    try:
        found = {path.stem: path for path in sorted(folder.glob("*.toml"))}
    except (OSError, ValueError):
        found = {}
    if not found:
        where = printable(str(folder))
        raise InputError(f"Expected judge prompts in {where}, got no .toml file there: name the folder that has them.")
    for role, path in found.items():
        if role not in ROLES:
            wanted = ", ".join(f"{role}.toml" for role in ROLES)
            raise InputError(f"Expected judge prompts called {wanted}, got {path.name!a}: rename or remove it.")
    return found


@lru_cache
def _prompts_of(role: Role) -> RolePrompts:
    """Returns the prompts that a role brings, or the general ones with its nouns filled in."""
    if role.judge:
        return RolePrompts.parse(role.judge, f"the judge prompts of the role {role.key!r}")
    path = files("persona_env.roles") / "judge.toml"
    text = path.read_text(encoding="utf-8").replace("%simulator%", role.simulator).replace("%task%", role.task)
    return RolePrompts.parse(tomllib.loads(text), path)


def _tables(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file():
            raise OSError("no plain file")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        why = printable(" ".join(str(error).split()))[:120]
        raise InputError(f"Expected a TOML file at {path}, got an error ({why}): correct it.") from None


def _wording(table: Any, kind: str, path: object) -> Wording:
    if not isinstance(table, dict):
        raise InputError(f"Expected a table [{kind}] in {path}, got none: write {', '.join(_PARTS)}.")
    for key in table:
        if key not in _PARTS:
            raise InputError(f"Expected {', '.join(_PARTS)} in [{kind}] of {path}, got {key!r}: remove or rename it.")
    wording = Wording(*(_text(table, part, path, f"{kind}.{part}") for part in _PARTS))
    required, optional = PLACEHOLDERS[kind]
    used = set(PLACEHOLDER.findall(wording.shown))
    if missing := sorted(required - used):
        raise InputError(f"Expected {{{missing[0]}}} in {kind}.shown of {path}, got a text without it: put it in.")
    if unknown := sorted(used - required - optional):
        raise InputError(
            f"Expected only {', '.join(f'{{{name}}}' for name in sorted(required | optional))} in {kind}.shown of "
            f"{path}, got {{{unknown[0]}}}: remove it."
        )
    for part, text in (("negative", wording.negative), ("positive", wording.positive)):
        if PLACEHOLDER.search(text):
            raise InputError(f"Expected {kind}.{part} of {path} without placeholders, got one: move it to shown.")
    if wording.negative == wording.positive:
        raise InputError(f"Expected {kind}.positive of {path} to ask the opposite, got the same text: reverse it.")
    return wording


def _text(table: Mapping[str, Any], key: str, path: object, name: str = "") -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value.strip():
        got = "nothing" if value is None else "an empty text" if isinstance(value, str) else type(value).__name__
        raise InputError(f"Expected a text for {name or key} in {path}, got {got}: write it.")
    return value.strip()
