"""The state of a dialogue: all forms play episodes, so the same seed and lines give the same dialogue everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from gymnasium.error import ResetNeeded

from persona_env.conversation import END_MARKER, Conversation, Event, Line, LineCompleted, Probe, ProbeAnswered, View
from persona_env.persona import Persona
from persona_env.scenario import Scenario

__all__ = ["INCOMING_CHARACTERS", "SEEDS", "Episode", "EpisodeState", "Info", "TokenState"]

Info: TypeAlias = dict[str, Any]

INCOMING_CHARACTERS = 4096
"""A line of the task agent, or a probe, is cut here, so that the observation space holds it."""

SEEDS = 2**63 - 1
"""Seeds of replies are below this."""


@dataclass(frozen=True, slots=True)
class TokenState:
    """The token ids of an episode, where the line being said begins, and where the dialogue ends without a probe."""

    ids: tuple[int, ...]
    start: int
    trunk: int


@dataclass(frozen=True, slots=True)
class EpisodeState:
    """All that an episode is at one moment, as plain data that pickles."""

    conversation: Conversation
    line_count: int
    probe: Probe | None  # to be answered now, before the pending ones
    pending_probes: tuple[Probe, ...]
    closing: bool  # nothing is said after the probes
    terminated: bool
    truncated: bool
    skipped: int  # probes that had no room, over all dialogues of the episode object
    rng: Mapping[str, Any]
    tokens: TokenState | None = None


_SAME = ("line_count", "probe", "pending_probes", "closing", "terminated", "truncated", "skipped")


class Episode:
    """One dialogue after another in one place: what was said, what is asked, whether it is over.

    A line is *completed* (an answer, if a probe is pending), then probes are taken, then the task agent's reply comes
    in. Who replies, and in which batch, is the engine's business.

    >>> episode = Episode(np.random.default_rng(0), max_lines=1)
    >>> episode.start(Persona("p1", "patient", "Ann", "You are Ann."))
    >>> episode.hear("How are you?")
    'How are you?'
    >>> episode.complete("Tired. [END]").info["line"], episode.closing
    ('Tired.', True)
    """

    def __init__(self, rng: np.random.Generator, max_lines: int):
        self.rng, self.max_lines = rng, max_lines
        self._conversation: Conversation | None = None
        self.probe: Probe | None = None
        self.pending_probes: tuple[Probe, ...] = ()
        self.line_count = self.skipped = 0
        self.closing = self.terminated = self.truncated = False

    @property
    def conversation(self) -> Conversation:
        """The dialogue so far; ResetNeeded if none has begun."""
        if self._conversation is None:
            raise ResetNeeded("Expected a dialogue, got none: call reset() first.")
        return self._conversation

    def check_goes_on(self) -> None:
        """Raises ResetNeeded unless there is a dialogue in which a line can be said."""
        if self._conversation is None or self.over:
            raise ResetNeeded("Expected a dialogue that goes on, got none or one that is over: call reset().")

    @property
    def over(self) -> bool:
        """Whether the dialogue has ended, one way or the other."""
        return self.terminated or self.truncated

    def start(self, persona: Persona, scenario: Scenario = Scenario()) -> None:  # noqa: B008 - frozen
        """Begins a new dialogue; nobody has spoken yet."""
        self._conversation = Conversation(persona, scenario=scenario)
        self.probe, self.pending_probes, self.line_count = None, (), 0
        self.closing = self.terminated = self.truncated = False

    def complete(self, text: str) -> Event:
        """Takes what the simulator said: the answer to the pending probe, or its next line.

        An answer leaves no trace in the dialogue; an end marker in it ends nothing.
        """
        line, closes = _without_marker(text)
        if self.probe is not None:
            answered = ProbeAnswered(self.probe, str(line), line.note)
            self.probe = None
            return answered
        conversation = self._conversation = self.conversation.with_line(line)
        self.line_count += 1
        limit = conversation.scenario.max_lines or self.max_lines
        self.closing = closes or self.line_count >= limit
        return LineCompleted(conversation, self.line_count - 1)

    def add_probe(self, probe: Probe, source: int = 0) -> None:
        """Adds a probe to those that are asked before the dialogue goes on."""
        asked = replace(probe, text=probe.text.strip()[:INCOMING_CHARACTERS], source=source)
        self.pending_probes = (*self.pending_probes, asked)

    def take_probe(self) -> int:
        """Puts the next pending probe that has room, or ends a closing dialogue; returns how many had none."""
        skipped = 0
        while self.pending_probes and self.probe is None:
            probe, *rest = self.pending_probes
            self.pending_probes = tuple(rest)
            if self.hear_probe(probe):
                self.probe = probe
            else:
                skipped += 1
        self.skipped += skipped
        self.terminated = self.closing and self.probe is None
        return skipped

    def hear_probe(self, probe: Probe) -> bool:
        """Puts a probe to the simulator; returns whether there was room (text always has)."""
        return True

    def hear(self, text: str) -> str:
        """Takes what the task agent said and returns it as it stands in the dialogue.

        Its end marker ends the dialogue, but not as it opens.
        """
        line, closes = _without_marker(Line.like(text, text[:INCOMING_CHARACTERS]))
        if line or not closes:
            self._conversation = self.conversation.with_reply(line)
        self.terminated = closes and self.line_count > 0
        return str(line)

    def draw_seed(self) -> int:
        """Draws the seed of one reply of the task agent."""
        return int(self.rng.integers(SEEDS))

    def view(self, seed: int = 0) -> View:
        """Returns what the simulator sees before it speaks; a pending probe is the last incoming line."""
        view = self.conversation.view("simulator", seed)
        return view if self.probe is None else view.with_incoming(self.probe.text)

    def snapshot(self) -> EpisodeState:
        """Returns all of the episode's state, as plain data."""
        same = {name: getattr(self, name) for name in _SAME}
        return EpisodeState(self.conversation, rng=self.rng.bit_generator.state, **same)

    def restore(self, state: EpisodeState) -> None:
        """Goes back to a state, the generator included."""
        self._conversation = state.conversation
        for name in _SAME:
            setattr(self, name, getattr(state, name))
        self.rng.bit_generator.state = dict(state.rng)


def _without_marker(line: str) -> tuple[Line, bool]:
    """Returns the line without end markers, stripped, and whether there was one."""
    return Line.like(line, line.replace(END_MARKER, "").strip()), END_MARKER in line
