"""A task agent in plain English that needs no model: it opens, reacts briefly, and asks its role's questions."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any

from persona_env.conversation import View
from persona_env.errors import InputError, shown
from persona_env.roles import Role, role_named
from persona_env.speakers.base import Speaker

__all__ = ["InterviewSpeaker"]


class InterviewSpeaker(Speaker):
    """Asks the questions of a role's `interview.toml`, each once before any comes again.

    >>> from persona_env.conversation import Conversation
    >>> from persona_env.persona import Persona
    >>> ann = Persona("p1", "patient", "Ann", "You are Ann.")
    >>> InterviewSpeaker().reply([Conversation(ann).view("task", seed=1)])
    ['Hello. Please take a seat. What do you do for work?']
    """

    def reply(self, views: Sequence[View]) -> list[str]:
        """Returns the next line for each view, in order."""
        return [self._line(view) for view in views]

    def _line(self, view: View) -> str:
        texts, rng = _interview_of(role_named(view.role)), random.Random(view.seed)
        before = "\n".join(message.text for message in view.messages if view.is_own(message))
        first = rng.choice(texts["reactions" if before else "openings"])
        questions = texts["questions"]
        fewest = min(map(before.count, questions))
        return f"{first} {rng.choice([text for text in questions if before.count(text) == fewest])}"


@lru_cache
def _interview_of(role: Role) -> Mapping[str, Sequence[str]]:
    path = files("persona_env.roles") / "interview.toml"
    texts: Mapping[str, Any] = role.interview or tomllib.loads(path.read_text(encoding="utf-8"))
    for name in ("openings", "reactions", "questions"):
        found = texts.get(name)
        if not isinstance(found, list) or not found or not all(isinstance(t, str) and t.strip() for t in found):
            raise InputError(
                f"Expected a list of texts as {name} in the interview of the role {role.key!r}, got {shown(found)}: "
                "write at least one."
            )
    return texts
