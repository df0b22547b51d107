"""What was said: messages, the frozen record of a dialogue, and the dialogue as one side sees it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from persona_env.persona import Persona
from persona_env.roles import role_named

__all__ = ["END_MARKER", "ChatMessage", "Conversation", "Message", "Probe", "Side", "View"]

Side = Literal["simulator", "task"]

END_MARKER = "[END]"
"""Either side ends the dialogue with a line that holds this; it is taken out of the line."""


@dataclass(frozen=True, slots=True)
class Message:
    """One line and who said it."""

    side: Side
    text: str


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """A message as one side sees it: its own (`assistant` in a chat template) or heard (`user`)."""

    own: bool
    text: str


@dataclass(frozen=True, slots=True)
class View:
    """The conversation as one of the two sides sees it, just before that side speaks.

    Attributes:
        role: Key of the `Role` that is played.
        side: Which side sees this.
        system: The side's system prompt (the simulator's holds its persona).
        messages: What was said, oldest first; may be empty.
        seed: The randomness of the reply, in [0, 2**63). A speaker that samples uses this and nothing
            else, so that batching, probes and branches never change a dialogue.
    """

    role: str
    side: Side
    system: str
    messages: tuple[ChatMessage, ...]
    seed: int


@dataclass(frozen=True, slots=True)
class Probe:
    """A side question that hangs from the dialogue and leaves no trace in it.

    Attributes:
        text: The question as the simulator hears it.
        gold: The right answer.
        choices: The options, if it is a multiple-choice question.
        key: The fact that it asks for, if there is one.
        asker: The place in the chain of probe_fns of the one that asked.
        role: Key of the `Role` that is asked, which a judge of the answer needs.
    """

    text: str
    gold: str
    choices: tuple[str, ...] = ()
    key: str = ""
    asker: int = 0
    role: str = ""


@dataclass(frozen=True, slots=True)
class Conversation:
    """The record of a dialogue, frozen.

    Attributes:
        persona: Who the simulator is.
        messages: What was said, oldest first.
        id: A name for logs; may be empty.

    >>> ann = Persona("p1", "patient", "Ann", "You are Ann.")
    >>> talk = Conversation(ann).heard("How are you?").said("Tired.").heard("Since when?").said("May.")
    >>> talk.lines, talk.heard_before(1), talk.earlier(1)
    (('Tired.', 'May.'), 'Since when?', ('Tired.',))
    """

    persona: Persona
    messages: tuple[Message, ...] = ()
    id: str = ""

    def said(self, text: str) -> Conversation:
        """Returns the conversation with one more line of the simulator."""
        return replace(self, messages=(*self.messages, Message("simulator", text)))

    def heard(self, text: str) -> Conversation:
        """Returns the conversation with one more line of the task agent."""
        return replace(self, messages=(*self.messages, Message("task", text)))

    @property
    def lines(self) -> tuple[str, ...]:
        """The simulator's lines, oldest first."""
        return tuple(message.text for message in self.messages if message.side == "simulator")

    def heard_before(self, index: int) -> str:
        """Returns what the simulator heard last before its line `index`; "" if it opened."""
        heard, own = "", -1
        for message in self.messages:
            if message.side == "task":
                heard = message.text
            else:
                own += 1
                if own == index:
                    return heard
        raise IndexError(f"Expected a line index below {own + 1}, got {index}: count from 0.")

    def earlier(self, index: int) -> tuple[str, ...]:
        """Returns the simulator's lines before its line `index`."""
        return self.lines[:index]

    def view(self, side: Side, seed: int = 0) -> View:
        """Returns what one side sees before it speaks."""
        role = self.persona.role
        texts, system = role_named(role), self.persona.prompt
        if side == "task":
            system = f"{texts.task_prompt}\n{self.persona.scene}" if self.persona.scene else texts.task_prompt
        elif texts.instruction:
            system = f"{texts.instruction}\n{system}"
        messages = tuple(ChatMessage(message.side == side, message.text) for message in self.messages)
        return View(role, side, system, messages, seed)
