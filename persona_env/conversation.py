"""What was said: messages, the frozen record of a dialogue, the dialogue as one side sees it, and its events."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, Literal, TypeAlias

from persona_env.errors import InputError
from persona_env.persona import Persona
from persona_env.roles import role_named
from persona_env.scenario import Scenario

__all__ = [
    "END_MARKER",
    "Conversation",
    "Event",
    "Line",
    "LineCompleted",
    "Message",
    "Note",
    "Probe",
    "ProbeAnswered",
    "Side",
    "View",
]

Side = Literal["simulator", "task"]

END_MARKER = "[END]"
"""Either side ends the dialogue with a line that holds this; it is taken out of the line."""


Note = Literal["", "cut", "filtered"]
"""What happened to a line on its way: it went on for the other side and was cut there; a content filter withheld it."""


class Line(str):
    """A speaker's line with a note; a plain text is a line without one."""

    note: Note

    def __new__(cls, text: str, note: Note = "") -> Line:
        """Returns a text as a line with a note."""
        line = super().__new__(cls, text)
        line.note = note
        return line

    @classmethod
    def like(cls, line: str, text: str) -> Line:
        """Returns a text with the note of the line that it was."""
        return cls(text, line.note if isinstance(line, Line) else "")


@dataclass(frozen=True, slots=True)
class Message:
    """One line and who said it."""

    side: Side
    text: str
    note: Note = ""

    @classmethod
    def said(cls, side: Side, line: str) -> Message:
        """Returns the message of a speaker's line, with its note."""
        return cls(side, str(line), Line.like(line, line).note)


@dataclass(frozen=True, slots=True)
class View:
    """The conversation as one of the two sides sees it, just before that side speaks.

    A speaker that samples uses the `seed`, in [0, 2**63), and nothing else, so that batching, probes and branches never
    change a dialogue.

    >>> view = View("patient", "simulator", "You are Ann.", (Message("task", "Hello."),), seed=0)
    >>> view.chat()
    [{'role': 'system', 'content': 'You are Ann.'}, {'role': 'user', 'content': 'Hello.'}]
    """

    role: str  # key of the `Role` that is played
    side: Side
    system: str  # the side's prompt; the simulator's holds its persona
    messages: tuple[Message, ...]  # oldest first; may be empty
    seed: int

    def is_own(self, message: Message) -> bool:
        """Whether this side said it."""
        return message.side == self.side

    def with_incoming(self, text: str) -> View:
        """Returns the view with one more line of the other side."""
        other: Side = "task" if self.side == "simulator" else "simulator"
        return replace(self, messages=(*self.messages, Message(other, text)))

    def chat(self) -> list[dict[str, str]]:
        """Returns the view as chat messages: the prompt is `system`, own lines `assistant`, incoming ones `user`.

        Successive lines of one side are one message, joined by line breaks. A side's own line as the last one is an
        InputError.
        """
        chat = [{"role": "system", "content": self.system}]
        for is_own, lines in groupby(self.messages, key=self.is_own):
            role = "assistant" if is_own else "user"
            chat.append({"role": role, "content": "\n".join(line.text for line in lines)})
        if chat[-1]["role"] == "assistant":
            raise InputError("Expected an incoming line last, got the speaker's own: ask it when it is its turn.")
        return chat


@dataclass(frozen=True, slots=True)
class Probe:
    """A side question that hangs from the dialogue and leaves no trace in it."""

    text: str
    gold: str
    choices: tuple[str, ...] = ()  # the options of a multiple-choice question
    key: str = ""  # the fact that it asks for, if there is one
    source: int = 0  # the place of its source among the environment's `probe_fns`
    role: str = ""  # key of the `Role` that is asked, which a judge of the answer needs
    description: str = ""  # the persona text of who is asked, which an answer must not recite


@dataclass(frozen=True, slots=True)
class Conversation:
    """The record of a dialogue, frozen.

    >>> ann = Persona("p1", "patient", "Ann", "You are Ann.")
    >>> talk = Conversation(ann).with_reply("How are you?").with_line("Tired.")
    >>> talk = talk.with_reply("Since when?").with_line("May.")
    >>> talk.lines, talk.heard_before(1), talk.earlier(1)
    (('Tired.', 'May.'), 'Since when?', ('Tired.',))
    """

    persona: Persona  # who the simulator is as the dialogue begins; see `persona_at`
    messages: tuple[Message, ...] = ()
    id: str = ""  # a name for logs
    scenario: Scenario = field(default_factory=Scenario)

    def with_line(self, text: str) -> Conversation:
        """Returns the conversation with one more line of the simulator."""
        return replace(self, messages=(*self.messages, Message.said("simulator", text)))

    def with_reply(self, text: str) -> Conversation:
        """Returns the conversation with one more line of the task agent (its first may open the dialogue)."""
        return replace(self, messages=(*self.messages, Message.said("task", text)))

    @property
    def lines(self) -> tuple[str, ...]:
        """The simulator's lines, oldest first."""
        return tuple(message.text for message in self.messages if message.side == "simulator")

    def heard_before(self, index: int) -> str:
        """Returns what the task agent said last before the simulator's line `index`; "" if the simulator opened."""
        place = [i for i, message in enumerate(self.messages) if message.side == "simulator"][index]
        heard = [message.text for message in self.messages[:place] if message.side == "task"]
        return heard[-1] if heard else ""

    def persona_at(self, index: int) -> Persona:
        """Returns who the simulator is before its line `index`: the persona with the fact updates up to there."""
        return self.scenario.persona_at(self.persona, index) if self.scenario.updates else self.persona

    def earlier(self, index: int) -> tuple[str, ...]:
        """Returns the simulator's lines before its line `index`, from the last fact update on."""
        return self.lines[self.scenario.first_line_of_facts(index) : index]

    def system(self, side: Side) -> str:
        """Returns the system prompt of a side; that of the simulator holds its persona."""
        role, persona = role_named(self.persona.role), self.persona
        if side == "task":
            prompt = self.scenario.task_prompt or role.task_prompt
            return f"{prompt}\n{persona.scene}" if persona.scene else prompt
        return f"{role.instruction}\n{persona.prompt}" if role.instruction else persona.prompt

    def view(self, side: Side, seed: int = 0) -> View:
        """Returns what one side sees before it speaks; only the simulator is told of fact updates."""
        told = side == "simulator" and self.scenario.updates
        messages = self._with_updates() if told else self.messages
        return View(self.persona.role, side, self.system(side), messages, seed)

    def _with_updates(self) -> tuple[Message, ...]:
        """The messages, and before each line what the simulator was told then."""
        messages, count = list[Message](), 0
        for message in self.messages:
            if message.side == "simulator":
                messages += self._told_before(count)
                count += 1
            messages.append(message)
        if not messages or messages[-1].side == "task":
            messages += self._told_before(count)
        return tuple(messages)

    def _told_before(self, index: int) -> list[Message]:
        return [Message("task", text) for text in self.scenario.told_before(index)]


@dataclass(frozen=True, slots=True)
class LineCompleted:
    """An event: the simulator completed its line `index`, the last of the conversation."""

    conversation: Conversation
    index: int

    @property
    def info(self) -> dict[str, Any]:
        """The event as an environment's info tells it."""
        line = self.conversation.messages[-1].text
        return {"line": line, "line_index": self.index, "conversation": self.conversation}


@dataclass(frozen=True, slots=True)
class ProbeAnswered:
    """An event: the simulator completed the answer to a probe."""

    probe: Probe
    text: str
    note: Note = ""

    @property
    def info(self) -> dict[str, Any]:
        """The event as an environment's info tells it."""
        return {"probe": self.probe, "answer": self.text}


Event: TypeAlias = LineCompleted | ProbeAnswered
"""What one step of a dialogue completes."""
