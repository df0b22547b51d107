"""What a run was begun with, beyond its settings: the contents behind its paths and names."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from persona_env.envs.persona_source import resolve_personas
from persona_env.errors import InputError, printable
from persona_env.io.atomic import json_line
from persona_env.judges.base import Judge
from persona_env.roles import Role, role_named
from persona_env.runs.config import CONTENTS
from persona_env.speakers import Speaker

__all__ = ["contents", "refuse_other_contents"]


def contents(
    role: str, personas: str, judge: Judge, task_agent: Speaker, simulators: Mapping[str, Speaker]
) -> dict[str, str]:
    """Returns a digest of each thing that figures depend on and that a path or a name stands for.

    The models' are those of their identities: weights, vocabulary, precision, prompts, and how they are asked.
    """
    found = {
        "personas": [*resolve_personas(role, personas, "all")],
        "role": _data(role_named(role)),
        "judge": dict(judge.identity),
        "task_agent": dict(task_agent.identity),
        **{f"simulator {name}".strip(): dict(speaker.identity) for name, speaker in simulators.items()},
    }
    return {name: hashlib.sha256(json_line(value).encode()).hexdigest() for name, value in found.items()}


def _data(role: Role) -> dict[str, Any]:
    """Returns what a role says; where its personas stand says nothing of them."""
    return {item.name: getattr(role, item.name) for item in fields(role) if item.name != "personas"}


def refuse_other_contents(was: Mapping[str, Any], now: Mapping[str, str]) -> None:
    """Refuses (InputError) to go on with a run of other contents; `was` is its `config.json`."""
    begun = was.get(CONTENTS, {})
    other = [name for name in {**begun, **now} if begun and begun.get(name) != now.get(name)]
    if other:
        told = printable(", ".join(name.replace("_", " ") for name in other))
        raise InputError(
            f"Expected the contents that the run began with, got others of: {told}: put back what stood there, or "
            "begin anew."
        )
