"""The speaker of the embedded world's grammar: the frozen task agent, and a simulator that never drifts."""

from __future__ import annotations

import random
from collections.abc import Sequence

from persona_env.conversation import View
from persona_env.errors import InputError
from persona_env.speakers.base import Speaker
from persona_env.world.grammar import in_character, remember
from persona_env.world.lexicon import ATTRIBUTES
from persona_env.world.reading import read_asked
from persona_env.world.task_agent import ask, longest_question

__all__ = ["ScriptedSpeaker"]


class ScriptedSpeaker(Speaker):
    """Talks by the rules of the embedded world, on either side.

    As the task agent it reacts to the last line and asks about one thing, seeing only text. As the
    simulator it takes its facts from the system prompt and its improvisations from its own earlier
    lines, and never drifts: guards are compared with it. A reply is a pure function of its view.

    >>> from persona_env.conversation import Message
    >>> view = View("patient", "simulator", "You are Mei.", (Message("task", "Who are you?"),), 0)
    >>> "Mei" in ScriptedSpeaker().reply([view])[0]
    True
    """

    def __init__(self) -> None:
        self.longest_reply = longest_question()

    def reply(self, views: Sequence[View]) -> list[str]:
        """Returns the next line for each view, in order; InputError if its role is not of the embedded world."""
        return [self._line(view) for view in views]

    def _line(self, view: View) -> str:
        if view.role not in ATTRIBUTES:
            known = ", ".join(ATTRIBUTES)
            raise InputError(f"Expected a role of the embedded world ({known}), got {view.role!r}: choose one.")
        rng = random.Random(view.seed)
        own = [message.text for message in view.messages if view.is_own(message)]
        incoming = [message.text for message in view.messages if not view.is_own(message)]
        if view.side == "task":
            return ask(view.role, incoming, own, rng)
        asked = read_asked(incoming[-1]) if incoming else None
        return in_character(remember(view.role, view.system, own), asked, rng)
