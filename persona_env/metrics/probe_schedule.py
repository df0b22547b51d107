"""Which question the simulator is asked on a branch of a dialogue, and after which line."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from persona_env.conversation import Conversation, Line, Note, Probe, View
from persona_env.scenario import ProbePlan

__all__ = ["Answer", "ProbeSchedule", "branches"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the simulator answered on a branch of a dialogue, after one of its lines."""

    line_index: int
    probe: Probe
    text: str
    note: Note = ""

    @classmethod
    def said(cls, line_index: int, probe: Probe, line: str) -> Answer:
        """Returns the answer of a speaker's line, with its note."""
        return cls(line_index, probe, str(line), Line.like(line, line).note)


def number_of(*parts: str | int) -> int:
    """Returns a number in [0, 2**63) that depends on the parts alone, on every machine."""
    text = "\x00".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()) >> 1


def _opening(conversation: Conversation) -> str:
    """Returns what was said up to and with the simulator's first line."""
    first = [message.side for message in conversation.messages].index("simulator")
    return "\x00".join(message.text for message in conversation.messages[: first + 1])


@dataclass(frozen=True, slots=True)
class ProbeSchedule(ProbePlan):
    """Which question to ask after which line of a plan: a pure function of the dialogue.

    >>> from persona_env.persona import Persona, QAItem
    >>> name = QAItem("Ann", ("Your name?",))
    >>> ann = Persona("p", "patient", "Ann", "You are Ann.", questions=(name,))
    >>> talk = Conversation(ann).with_reply("Hello.").with_line("Hi.").with_reply("How are you?").with_line("Fine.")
    >>> ProbeSchedule(every=2).probe(talk).text, ProbeSchedule(every=3).probe(talk)
    ('Your name?', None)
    """

    def _is_due(self, conversation: Conversation) -> bool:
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
        """Returns the question to ask after the simulator's last line so far, or None; a persona may have none."""
        persona = conversation.persona_at(len(conversation.lines) - 1)
        if not persona.questions or not self._is_due(conversation):
            return None
        lines = conversation.lines
        number = number_of("what", persona.id, len(lines) - 1, lines[-1])
        round_, place = divmod(number, len(persona.questions))
        item = persona.questions[place]
        wording, of_whom = item.wording(round_, held_out=self.held_out), (persona.role, persona.description)
        return Probe(wording, item.gold, item.choices, item.key, 0, *of_whom)

    def ask(self, conversations: Sequence[Conversation]) -> list[Probe | None]:
        """Returns for each dialogue the question to ask now, or None; a `ProbeFn` for environments."""
        return [self.probe(conversation) for conversation in conversations]


def branches(conversation: Conversation, schedule: ProbeSchedule) -> list[tuple[int, Probe, View]]:
    """Returns the questions that are due in a dialogue: after which line, what, and the simulator's view of it."""
    ends = [end for end, m in enumerate(conversation.messages, 1) if m.side == "simulator"]
    due = list[tuple[int, Probe, View]]()
    for index, end in enumerate(ends):
        so_far = replace(conversation, messages=conversation.messages[:end])
        probe = schedule.probe(so_far)
        if probe is not None:
            seed = number_of("answer", conversation.persona.id, index, so_far.lines[-1], probe.text)
            due.append((index, probe, so_far.view("simulator", seed).with_incoming(probe.text)))
    return due
