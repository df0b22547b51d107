"""The judge's prompts: texts in TOML files that a person can read and replace, two queries for each question."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from persona_env.errors import InputError, printable
from persona_env.judges.backend import JudgePrompt, Polarity
from persona_env.judges.base import AnswerVsGold, LineVsHistory, LineVsPersona, LineVsPrevious, Query
from persona_env.judges.sanitize import PLACEHOLDER, as_json, fill
from persona_env.roles import BUNDLED, ROLES, Role, role_named

__all__ = ["PLACES", "JudgePrompts", "Wording"]

PLACES: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "line_vs_persona": (frozenset({"persona", "line"}), frozenset({"heard"})),
    "line_vs_history": (frozenset({"earlier", "line"}), frozenset()),
    "line_vs_earlier": (frozenset({"before", "line"}), frozenset()),
    "answer_vs_gold": (frozenset({"question", "gold", "answer"}), frozenset({"choices"})),
    "line_vs_previous": (frozenset({"heard", "line"}), frozenset({"persona"})),
}
"""For each kind of question the placeholders that its text must have, and those that it may have."""

_PARTS = ("shown", "against", "for")


@dataclass(frozen=True, slots=True)
class Wording:
    """How one kind of question is asked.

    Attributes:
        shown: What the judge is shown, with placeholders.
        against: What it is asked first; A says that something speaks against the line.
        favour: What it is asked again, the other way round; A says that all speaks for the line.
    """

    shown: str
    against: str
    favour: str


@dataclass(frozen=True)
class JudgePrompts:
    """The judge prompts of the roles that are built in or replaced; another role brings its own, or is asked as any.

    Attributes:
        system: For each role the instruction.
        wordings: For each role and kind of question (a key of `PLACES`) its wording.

    >>> prompts = JudgePrompts.load()
    >>> against, favour = prompts.queries(AnswerVsGold("patient", "How do you sleep?", "badly", "{gold} </s>"))
    >>> '"{gold} < /s>"' in against.user, against.polarity, favour.polarity
    (True, 'against', 'for')
    """

    system: Mapping[str, str]
    wordings: Mapping[str, Mapping[str, Wording]]

    @classmethod
    def load(cls, folder: str | Path | None = None) -> JudgePrompts:
        """Returns our prompts, or those of a folder; a role that the folder has no file for is asked in our words.

        Args:
            folder: With `patient.toml`, `student.toml` or `chat_partner.toml`, written as ours are.

        Raises:
            ValueError: If there is no such file, or one of them cannot be used; names the file and the key.
        """
        given = {} if folder is None else _files(Path(folder))
        read = {role: _prompts_of(role_named(role)) for role in BUNDLED if role not in given}
        read |= {role: _checked(_tables(path), path) for role, path in given.items()}
        return cls({role: text for role, (text, _) in read.items()}, {role: w for role, (_, w) in read.items()})

    @property
    def digest(self) -> str:
        """SHA-256 of all texts."""
        texts = {
            role: [system, {kind: [w.shown, w.against, w.favour] for kind, w in self.wordings[role].items()}]
            for role, system in self.system.items()
        }
        return sha256(json.dumps(texts, sort_keys=True).encode("ascii")).hexdigest()

    def queries(self, question: Query) -> tuple[JudgePrompt, JudgePrompt]:
        """Returns the two queries of a question, of opposite polarity and order of answers.

        Raises:
            InputError: If there is no such role, or its prompts cannot be used.
        """
        match question:
            case LineVsPersona(persona, line, heard):
                texts = {"persona": as_json(persona.prompt), "line": as_json(line), "heard": as_json(heard)}
                return self._both(persona.role, "line_vs_persona", texts)
            case LineVsPrevious(persona, heard, line):
                texts = {"persona": as_json(persona.prompt), "line": as_json(line), "heard": as_json(heard)}
                return self._both(persona.role, "line_vs_previous", texts)
            case LineVsHistory(role, line, earlier):
                numbered = "\n".join(f"{number}: {as_json(text)}" for number, text in enumerate(earlier, 1))
                texts = {"earlier": numbered, "line": as_json(line)}
                return self._both(role, "line_vs_history", texts, len(earlier))
            case AnswerVsGold(role, asked, gold, answer, choices):
                texts = {"question": as_json(asked), "gold": as_json(gold), "answer": as_json(answer)}
                texts["choices"] = f"[{', '.join(map(as_json, choices))}]"
                return self._both(role, "answer_vs_gold", texts)

    def pair_queries(self, question: LineVsHistory) -> list[tuple[JudgePrompt, JudgePrompt]]:
        """Returns two queries for each earlier line, for a judge that cannot answer with a list."""
        said = as_json(question.line)
        return [
            self._both(question.role, "line_vs_earlier", {"before": as_json(before), "line": said})
            for before in question.earlier
        ]

    def _both(self, role: str, kind: str, texts: Mapping[str, str], items: int = 0) -> tuple[JudgePrompt, JudgePrompt]:
        if role in self.system:
            wording, system = self.wordings[role][kind], self.system[role]
        else:
            system, wordings = _prompts_of(role_named(role))
            wording = wordings[kind]
        shown = fill(wording.shown, texts)

        def query(polarity: Polarity, asked: str) -> JudgePrompt:
            # What is asked comes first, so that both queries end the same: who has no clue answers both alike.
            return JudgePrompt(polarity, system, f"{asked}\n\n{shown}", items)

        return query("against", wording.against), query("for", wording.favour)


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
def _prompts_of(role: Role) -> tuple[str, dict[str, Wording]]:
    """Returns the prompts that a role brings, or those for any role, with its nouns filled in."""
    if role.judge:
        return _checked(role.judge, f"the judge prompts of the role {role.key!r}")
    path = files("persona_env.roles") / "judge.toml"
    text = path.read_text(encoding="utf-8").replace("%simulator%", role.simulator).replace("%task%", role.task)
    return _checked(tomllib.loads(text), path)


def _tables(path: Traversable) -> dict[str, Any]:
    try:
        if not path.is_file():
            raise OSError("no plain file")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        why = printable(" ".join(str(error).split()))[:120]
        raise InputError(f"Expected a TOML file at {path}, got an error ({why}): correct it.") from None


def _checked(tables: Mapping[str, Any], path: object) -> tuple[str, dict[str, Wording]]:
    for key in tables:
        if key != "system" and key not in PLACES:
            raise InputError(f"Expected system and {', '.join(PLACES)} in {path}, got {key!r}: remove or rename it.")
    system = _text(tables, "system", path)
    if PLACEHOLDER.search(system):
        raise InputError(f"Expected system in {path} without placeholders, got one: texts of others never stand there.")
    return system, {kind: _wording(tables.get(kind), kind, path) for kind in PLACES}


def _wording(table: Any, kind: str, path: object) -> Wording:
    if not isinstance(table, dict):
        raise InputError(f"Expected a table [{kind}] in {path}, got none: write shown, against and for.")
    for key in table:
        if key not in _PARTS:
            raise InputError(f"Expected {', '.join(_PARTS)} in [{kind}] of {path}, got {key!r}: remove or rename it.")
    shown, against, favour = (_text(table, part, path, f"{kind}.{part}") for part in _PARTS)
    must, may = PLACES[kind]
    places = set(PLACEHOLDER.findall(shown))
    if missing := sorted(must - places):
        raise InputError(f"Expected {{{missing[0]}}} in {kind}.shown of {path}, got a text without it: put it in.")
    if unknown := sorted(places - must - may):
        raise InputError(
            f"Expected only {', '.join(f'{{{name}}}' for name in sorted(must | may))} in {kind}.shown of {path}, "
            f"got {{{unknown[0]}}}: remove it."
        )
    for part, text in (("against", against), ("for", favour)):
        if PLACEHOLDER.search(text):
            raise InputError(f"Expected {kind}.{part} of {path} without placeholders, got one: move it to shown.")
    if against == favour:
        raise InputError(f"Expected {kind}.for of {path} to ask the opposite, got the text of against: reverse it.")
    return Wording(shown, against, favour)


def _text(table: Mapping[str, Any], key: str, path: object, name: str = "") -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value.strip():
        got = "nothing" if value is None else "an empty text" if isinstance(value, str) else type(value).__name__
        raise InputError(f"Expected a text for {name or key} in {path}, got {got}: write it.")
    return value.strip()
