"""Who may be simulated: the personas of a role and a split, and the one that a reset asks for.

Held-out personas are unseen: no description of theirs is that of a training persona, whatever its letter case,
punctuation, white space and the name in it; of the bundled ones none lists the same facts as a training persona, and
each has values and pairs of values that no training persona has. Files in which it is otherwise are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources
from os import PathLike
from os.path import expanduser, isfile
from pathlib import Path
from typing import Any, TypeAlias

from persona_env.errors import InputError
from persona_env.io.persona_file import SPLITS, load_personas
from persona_env.persona import Persona
from persona_env.roles import BUNDLED, Role, role_named

__all__ = ["PROMPT_CHARACTERS", "PersonaSource", "chosen_personas", "resolve_personas"]

PersonaSource: TypeAlias = "str | PathLike[str] | Sequence[Persona]"
"""What `resolve_personas` takes."""

PROMPT_CHARACTERS = 2**15
"""The longest system prompt that the observation space of the text forms holds."""


def resolve_personas(role: str, personas: PersonaSource = "bundled", split: str = "train") -> Sequence[Persona]:
    """Returns the personas of one role (its key or path) and split, at least one.

    The split is `train`, `dev`, `heldout`, or `all` of them. The personas are `"bundled"` (the embedded world's, which
    `tiny` and the oracle understand), `"natural"` (for real models and judges: 20 train, 4 dev, 10 heldout a role; of a
    role of your own its own), those of the path of a file (see `load_personas` for its splits), or of a list, which is
    used as it is.
    """
    found = role_named(role)
    if split not in (*SPLITS, "all"):
        raise InputError(f"Expected a split {', '.join(SPLITS)} or all, got {split!r}: choose one.")
    if not isinstance(personas, str | PathLike):
        return _checked(found.key, personas)
    if split == "all" and personas in ("bundled", "natural"):
        return tuple(persona for one in SPLITS for persona in resolve_personas(role, personas, one))
    if personas == "bundled" and found.key in BUNDLED:
        from persona_env import world

        return world.personas(found.key, split)
    if personas in ("bundled", "natural"):
        return _natural(found, split)
    return _from_file(found.key, Path(personas), split)


@lru_cache
def _natural(role: Role, split: str) -> Sequence[Persona]:
    """Returns the personas in natural English that a role brings; read when they are first asked for."""
    if role.personas is None:
        raise InputError(f"Expected personas for the role {role.key!r}, which brings none: give personas=<a file>.")
    with resources.as_file(role.personas) as path:
        return tuple(load_personas(path, split))


def _checked(role: str, personas: Sequence[Persona]) -> Sequence[Persona]:
    if not personas:
        raise InputError("Expected at least one persona, got none: give a list with one in it.")
    for persona in personas:
        _fitting(role, persona)
    return tuple(personas)


def _from_file(role: str, path: Path, split: str) -> Sequence[Persona]:
    path = Path(expanduser(path))
    if not isfile(path):  # False, too, for a name too long or a folder that may not be looked into
        raise InputError(
            f"Expected personas to be 'bundled', 'natural' or a file, got {str(path)!a:.200}: there is none."
        )
    found = tuple(
        persona for persona in load_personas(path, None if split == "all" else split, role) if persona.role == role
    )
    if not found:
        raise InputError(
            f"Expected a persona of role {role} of split {split} in {path}, got none: add some or use another split."
        )
    return _checked(role, found)


def chosen_personas(
    role: str, personas: Sequence[Persona], options: Mapping[str, Any], number: int
) -> list[Persona | None]:
    """Returns for each dialogue the persona that reset's options ask for; None where one is to be drawn.

    The options may hold `persona` (for all) or `personas` (one each), each a `Persona`, an id, or None.
    """
    asked = options.get("personas")
    asked = [options.get("persona")] * number if asked is None else list(asked)
    if len(asked) != number:
        raise InputError(f"Expected {number} personas, got {len(asked)}: give one for each environment.")
    by_id = {persona.id: persona for persona in personas} if any(isinstance(one, str) for one in asked) else {}
    return [None if one is None else _fitting(role, _found(by_id, one)) for one in asked]


def _found(by_id: Mapping[str, Persona], asked: object) -> object:
    """Returns the persona of an id; what is no id is returned as it is."""
    if not isinstance(asked, str):
        return asked
    if asked not in by_id:
        known = next(iter(by_id))
        raise InputError(
            f"Expected the id of a persona such as {known!r}, got {asked!r}: use an id of this environment's split."
        )
    return by_id[asked]


def _fitting(role: str, persona: object) -> Persona:
    if not isinstance(persona, Persona):
        raise InputError(f"Expected a Persona or an id, got {type(persona).__name__}: make one.")
    if persona.role != role:
        raise InputError(
            f"Expected a persona of role {role}, got {persona.id!r} of role {persona.role}: "
            "use the environment of its role."
        )
    if len(persona.prompt) > PROMPT_CHARACTERS:
        raise InputError(
            f"Expected a prompt of at most {PROMPT_CHARACTERS} characters, got "
            f"{len(persona.prompt)} in persona {persona.id!r}: shorten it."
        )
    return persona
