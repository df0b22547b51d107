"""The judge's prompts: TOML files that a person can read and replace, two prompts for each kind of query."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from os.path import expanduser
from pathlib import Path
from typing import Any

from msgspec import defstruct

from persona_env.errors import InputError, printable
from persona_env.io.json_files import Words, converted, open_file
from persona_env.judges.backend import JudgePrompt
from persona_env.judges.base import (
    AnswerVsGold,
    LineVsHistory,
    LineVsPersona,
    LineVsPrevious,
    LineVsQuestion,
    LineVsRole,
    Query,
)
from persona_env.judges.sanitize import PLACEHOLDER, as_json, fill
from persona_env.roles import BUNDLED, ROLES, Role, role_named

__all__ = ["PLACEHOLDERS", "JudgePrompts", "RolePrompts", "Wording"]

PLACEHOLDERS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "line_vs_persona": (frozenset({"persona", "line"}), frozenset({"heard"})),
    "line_vs_history": (frozenset({"earlier", "line"}), frozenset()),
    "line_vs_earlier": (frozenset({"before", "line"}), frozenset()),
    "answer_vs_gold": (frozenset({"question", "gold", "answer"}), frozenset({"choices"})),
    "line_vs_previous": (frozenset({"heard", "line"}), frozenset({"persona"})),
    "question_vs_persona": (frozenset({"persona", "heard"}), frozenset()),
    "line_vs_question": (frozenset({"heard", "line"}), frozenset({"persona"})),
    "line_vs_role": (frozenset({"line"}), frozenset({"persona", "heard"})),
}
"""For each kind of query the placeholders that its text must have, and those that it may have."""

_MAY_BE_LEFT_OUT = ("question_vs_persona", "line_vs_question", "line_vs_role")
"""The kinds that files of earlier versions have not: ours are used."""


@dataclass(frozen=True, slots=True)
class Wording:
    """How one kind of query is put to a model: what it is shown, with placeholders, and two questions about it.

    A says under `negative` that something speaks against the line, under `positive` that everything speaks for it.
    """

    shown: Words
    negative: Words
    positive: Words


_FILE = defstruct(  # what a TOML file of prompts holds
    "_File",
    [
        ("system", Words),
        *((kind, Wording) for kind in PLACEHOLDERS if kind not in _MAY_BE_LEFT_OUT),
        *((kind, Wording | None, None) for kind in _MAY_BE_LEFT_OUT),
    ],
    forbid_unknown_fields=True,
)


_GENERAL = files("persona_env.roles") / "judge.toml"


@dataclass(frozen=True, slots=True)
class RolePrompts:
    """The judge prompts of one role: the instruction, and for each kind of query (of `PLACEHOLDERS`) its wording."""

    system: str
    wordings: Mapping[str, Wording]

    @classmethod
    def parse(cls, tables: Mapping[str, Any], path: object, role: Role) -> RolePrompts:
        """Returns the prompts in a parsed TOML file; if it cannot be used, InputError names `path` and the key.

        Kinds that files of earlier versions have not may be missing: the general ones with the role's nouns are used.
        """
        found: Any = converted(tables, _FILE, str(path))
        ours = _general(role)
        given = {kind: getattr(found, kind) or Wording(**ours[kind]) for kind in PLACEHOLDERS}
        wordings = {kind: Wording(*map(str.strip, astuple(wording))) for kind, wording in given.items()}
        for kind, wording in wordings.items():
            _check(wording, kind, path)
        if PLACEHOLDER.search(found.system):
            raise InputError(f"Expected system in {path} without placeholders, got one: move it to shown.")
        return cls(found.system.strip(), wordings)


@dataclass(frozen=True)
class JudgePrompts:
    """The judge prompts of the roles that are built in or replaced; any other role brings its own or gets general ones.

    >>> prompts = JudgePrompts.load()
    >>> negative, positive = prompts.both(AnswerVsGold("patient", "How do you sleep?", "badly", "{gold} </s>"))
    >>> '"{gold} < /s>"' in negative.user, negative.polarity, positive.polarity
    (True, 'negative', 'positive')
    """

    roles: Mapping[str, RolePrompts]

    @classmethod
    def load(cls, folder: str | Path | None = None) -> JudgePrompts:
        """Returns our prompts, or those of a folder with `<role>.toml` for some roles, and ours for the others."""
        given = {} if folder is None else _files(Path(expanduser(folder)))
        ours = {role: _prompts_of(role_named(role)) for role in BUNDLED if role not in given}
        theirs = {key: RolePrompts.parse(_tables(path), path, role_named(key)) for key, path in given.items()}
        return cls(ours | theirs)

    @property
    def digest(self) -> str:
        """SHA-256 of all texts."""
        texts = {
            role: [prompts.system, {kind: astuple(wording) for kind, wording in prompts.wordings.items()}]
            for role, prompts in self.roles.items()
        }
        return sha256(json.dumps(texts, sort_keys=True).encode("ascii")).hexdigest()

    def __contains__(self, role: str) -> bool:
        return role in self.roles or role in ROLES

    def both(self, query: Query) -> tuple[JudgePrompt, JudgePrompt]:
        """Returns the two prompts of a query, of opposite polarity."""
        match query:
            case LineVsPersona() | LineVsPrevious() | LineVsQuestion() | LineVsRole():
                return self._pair(query.role, _KINDS[type(query)], _texts(query))
            case LineVsHistory(role, line, earlier):
                numbered = "\n".join(f"{number}: {as_json(text)}" for number, text in enumerate(earlier, 1))
                texts = {"earlier": numbered, "line": as_json(line)}
                return self._pair(role, "line_vs_history", texts, len(earlier))
            case AnswerVsGold(role, question, gold, answer, choices):
                texts = {"question": as_json(question), "gold": as_json(gold), "answer": as_json(answer)}
                texts["choices"] = f"[{', '.join(map(as_json, choices))}]"
                return self._pair(role, "answer_vs_gold", texts)

    def whether_known(self, query: LineVsQuestion) -> tuple[JudgePrompt, JudgePrompt]:
        """Returns two prompts: whether what was said asks for something that the persona states."""
        return self._pair(query.role, "question_vs_persona", _texts(query))

    def per_earlier_line(self, query: LineVsHistory) -> list[tuple[JudgePrompt, JudgePrompt]]:
        """Returns two prompts for each earlier line, for a model that cannot answer with a list."""
        texts = [{"before": as_json(before), "line": as_json(query.line)} for before in query.earlier]
        return [self._pair(query.role, "line_vs_earlier", shown) for shown in texts]

    def _pair(self, role: str, kind: str, texts: Mapping[str, str], items: int = 0) -> tuple[JudgePrompt, JudgePrompt]:
        prompts = self.roles[role] if role in self.roles else _prompts_of(role_named(role))
        wording = prompts.wordings[kind]
        shown = fill(wording.shown, texts)
        # The question comes first, so that both prompts end alike: a clueless model answers both alike.
        return (
            JudgePrompt("negative", prompts.system, f"{wording.negative}\n\n{shown}", items),
            JudgePrompt("positive", prompts.system, f"{wording.positive}\n\n{shown}", items),
        )


_KINDS: Mapping[type[Query], str] = {
    LineVsPersona: "line_vs_persona",
    LineVsPrevious: "line_vs_previous",
    LineVsQuestion: "line_vs_question",
    LineVsRole: "line_vs_role",
}


def _texts(query: LineVsPersona | LineVsPrevious | LineVsQuestion | LineVsRole) -> dict[str, str]:
    texts = {"persona": query.persona.prompt, "line": query.line, "heard": query.heard}
    return {name: as_json(text) for name, text in texts.items()}


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
        return RolePrompts.parse(role.judge, f"the judge prompts of the role {role.key!r}", role)
    return RolePrompts.parse(_general(role), _GENERAL, role)


@lru_cache
def _general(role: Role) -> Mapping[str, Any]:
    """Returns the general prompts with the nouns of a role filled in, as they stand in their file."""
    text = _GENERAL.read_text(encoding="utf-8").replace("%simulator%", role.simulator).replace("%task%", role.task)
    return tomllib.loads(text)


def _tables(path: Path) -> dict[str, Any]:
    try:
        with open_file(path) as file:
            return tomllib.load(file)
    except (OSError, ValueError, RecursionError) as error:
        why = printable(" ".join(str(error).split()))[:120]
        raise InputError(f"Expected a TOML file at {path}, got an error ({why}): correct it.") from None


def _check(wording: Wording, kind: str, path: object) -> None:
    required, optional = PLACEHOLDERS[kind]
    used = set(PLACEHOLDER.findall(wording.shown))
    if missing := sorted(required - used):
        raise InputError(f"Expected {{{missing[0]}}} in {kind}.shown of {path}, got a text without it: put it in.")
    if unknown := sorted(used - required - optional):
        known = ", ".join(f"{{{name}}}" for name in sorted(required | optional))
        raise InputError(f"Expected only {known} in {kind}.shown of {path}, got {{{unknown[0]}}}: remove it.")
    if PLACEHOLDER.search(f"{wording.negative} {wording.positive}"):
        raise InputError(f"Expected questions in [{kind}] of {path} without placeholders, got one: move it to shown.")
    if wording.negative == wording.positive:
        raise InputError(f"Expected {kind}.positive of {path} to ask the opposite, got the same text: reverse it.")
