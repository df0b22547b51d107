"""Which question the simulator is asked on a branch of a dialogue, and after which line."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from persona_env.conversation import Conversation, Probe, View
from persona_env.errors import InputError

__all__ = ["Answer", "Branch", "ProbeSchedule", "branches"]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that the simulator gave on a branch of a dialogue.

    Attributes:
        line_index: The line after which it was asked.
        probe: What it was asked.
        text: What it said.
    """

    line_index: int
    probe: Probe
    text: str


def number_of(*parts: str | int) -> int:
    """Returns a number in [0, 2**63) that depends on the parts alone, on every machine."""
    text = "\x00".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()) >> 1


def _opening(conversation: Conversation) -> str:
    """Returns what was said up to and with the simulator's first line."""
    texts = list[str]()
    for message in conversation.messages:
        texts.append(message.text)
        if message.side == "simulator":
            break
    return "\x00".join(texts)


@dataclass(frozen=True, slots=True)
class ProbeSchedule:
    """Which question to ask after which line: a pure function of the dialogue.

    Attributes:
        every: Ask after each `every`-th line; None: once per dialogue, after a pseudo-random line.
        within: Where it asks once: the line is one of the first `within`. A dialogue that ends
            before that line is not asked.
        held_out: Use the wordings reserved for evaluation.

    >>> from persona_env.persona import Persona, QAItem
    >>> name = QAItem("Ann", ("Your name?",))
    >>> ann = Persona("p", "patient", "Ann", "You are Ann.", questions=(name,))
    >>> talk = Conversation(ann).with_reply("Hello.").with_line("Hi.").with_reply("How are you?").with_line("Fine.")
    >>> ProbeSchedule(every=2).probe(talk).text, ProbeSchedule(every=3).probe(talk)
    ('Your name?', None)
    """

    every: int | None = None
    within: int = 8
    held_out: bool = False

    def __post_init__(self) -> None:
        if self.every is not None and self.every < 1:
            raise InputError(f"Expected every >= 1 or None, got {self.every}: None asks once.")
        if self.within < 1:
            raise InputError(f"Expected within >= 1, got {self.within}: give a number of lines.")

    def is_due(self, conversation: Conversation) -> bool:
        """Returns whether to ask after the simulator's last line so far."""
        count = len(conversation.lines)
        if not count:
            return False
        if self.every is not None:
            return count % self.every == 0
        if count > self.within:
            return False
        drawn = number_of("when", conversation.persona.id, _opening(conversation))
        return count - 1 == drawn % self.within

    def probe(self, conversation: Conversation) -> Probe | None:
        """Returns the question to ask after the simulator's last line so far, or None.

        Raises:
            InputError: If the persona has no questions.
        """
        persona = conversation.persona_at(len(conversation.lines) - 1)
        if not persona.questions:
            raise InputError(
                f"Expected questions about persona {persona.id!r}, got none: add QAItems, or leave out question-answer."
            )
        if not self.is_due(conversation):
            return None
        lines = conversation.lines
        number = number_of("what", persona.id, len(lines) - 1, lines[-1])
        round_, place = divmod(number, len(persona.questions))
        item = persona.questions[place]
        text = item.wording(round_, held_out=self.held_out)
        return Probe(text, item.gold, item.choices, item.key, role=persona.role)

    def ask(self, conversations: Sequence[Conversation]) -> list[Probe | None]:
        """Returns for each dialogue the question to ask now, or None; a `ProbeFn` for environments."""
        return [self.probe(conversation) for conversation in conversations]


@dataclass(frozen=True, slots=True)
class Branch:
    """A question that is due in a dialogue.

    Attributes:
        line_index: The line after which it is asked.
        probe: What is asked.
        so_far: The dialogue up to that line.
    """

    line_index: int
    probe: Probe
    so_far: Conversation

    @property
    def view(self) -> View:
        """What the simulator sees: the dialogue, and the question as the last incoming line."""
        parts = (self.so_far.persona.id, self.line_index, self.so_far.lines[-1], self.probe.text)
        return self.so_far.view("simulator", number_of("answer", *parts)).with_incoming(self.probe.text)


def branches(conversation: Conversation, schedule: ProbeSchedule) -> list[Branch]:
    """Returns the questions that the schedule asks in a dialogue, in order."""
    ends = [end for end, m in enumerate(conversation.messages, 1) if m.side == "simulator"]
    due = list[Branch]()
    for line_index, end in enumerate(ends):
        so_far = replace(conversation, messages=conversation.messages[:end])
        probe = schedule.probe(so_far)
        if probe is not None:
            due.append(Branch(line_index, probe, so_far))
    return due
