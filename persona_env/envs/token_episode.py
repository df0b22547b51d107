"""Episodes whose lines are said token by token: the learner's ids stay as they were sampled, in one array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from persona_env.conversation import Event, Probe, ProbeAnswered
from persona_env.envs.episode import Episode, EpisodeState, TokenState
from persona_env.errors import InputError
from persona_env.persona import Persona
from persona_env.scenario import Scenario

if TYPE_CHECKING:
    from persona_env.speakers.chat_format import ChatFormat

__all__ = ["TokenContexts", "TokenEpisode"]


class TokenContexts:
    """The contexts of N episodes and the lines being said in them.

    A line ends with an end token; a control token counts as one and is written down as `end_id`, so nobody can forge a
    turn. A line of `max_tokens` without an end is given one. A line only starts where there is room for all of it.
    `ids` (N, context) int32 is right-padded; `lengths` (N,) int64 are the tokens in each context, `starts` (N,) int64
    where the line that is being said begins.
    """

    def __init__(self, number: int, chat: ChatFormat, context: int, max_tokens: int):
        self.chat, self.context, self.max_tokens = chat, context, max_tokens
        self.line_room = max_tokens + 1
        self.ids = np.full((number, context), chat.pad_id, np.int32)
        self.lengths = np.zeros(number, np.int64)
        self.starts = np.zeros(number, np.int64)
        self._indices = np.arange(number)
        self._said = np.arange(chat.vocabulary, dtype=np.int32)
        self._said[list({*chat.forbidden_ids, chat.pad_id} - chat.end_ids)] = chat.end_id
        self._ends = np.zeros(chat.vocabulary, bool)
        self._ends[list(chat.end_ids)] = True

    def push(self, actions: Any) -> list[int]:
        """Says one token (its id) in each context; returns the indices of those whose line is now complete."""
        tokens = self._said[self._checked(actions)]
        self.ids[self._indices, self.lengths] = tokens
        self.lengths += 1
        complete = self._ends[tokens]
        cut = ~complete & (self.lengths - self.starts >= self.max_tokens)
        if cut.any():
            self.ids[cut, self.lengths[cut]] = self.chat.end_id
            self.lengths += cut
            complete |= cut
        return np.flatnonzero(complete).tolist()

    def _checked(self, actions: Any) -> NDArray[np.integer[Any]]:
        tokens = np.asarray(actions)
        vocabulary, shape = self.chat.vocabulary, self.lengths.shape
        right = tokens.dtype.kind in "iu" and tokens.shape == shape
        if not right or tokens.min() < 0 or tokens.max() >= vocabulary:
            raise InputError(
                f"Expected {len(self.lengths)} token ids in [0, {vocabulary}), "
                f"got {repr(actions)[:60]}: give one integer for each dialogue."
            )
        return tokens

    def text(self, index: int) -> str:
        """Returns what was said in a context since its line began."""
        return self.chat.decode(self.ids[index, self.starts[index] : self.lengths[index]].tolist())

    def has_room(self, index: int, piece: Sequence[int]) -> bool:
        """Whether an incoming piece fits, and a whole line behind it."""
        return int(self.lengths[index]) + len(piece) + self.line_room <= self.context

    def append(self, index: int, piece: Sequence[int]) -> None:
        """Writes an incoming piece behind a context; the next line begins there."""
        length = int(self.lengths[index])
        end = length + len(piece)
        self.ids[index, length:end] = piece
        self.lengths[index] = self.starts[index] = end

    def cut_back(self, index: int, length: int) -> None:
        """Takes everything from `length` on out of a context."""
        self.ids[index, length : self.lengths[index]] = self.chat.pad_id
        self.lengths[index] = self.starts[index] = length


class TokenEpisode(Episode):
    """An episode in one of the contexts: a probe without room is skipped, a dialogue without room truncated."""

    def __init__(self, rng: np.random.Generator, max_lines: int, contexts: TokenContexts, index: int):
        super().__init__(rng, max_lines)
        self.contexts, self.index, self.trunk = contexts, index, 0

    def start(self, persona: Persona, scenario: Scenario = Scenario()) -> None:  # noqa: B008 - frozen
        """Begins a new dialogue with an empty context."""
        super().start(persona, scenario)
        self.contexts.cut_back(self.index, 0)

    def complete(self, text: str) -> Event:
        """Takes what was said; an answer and its probe are cut out of the context."""
        event = super().complete(text)
        if isinstance(event, ProbeAnswered):
            self.contexts.cut_back(self.index, self.trunk)
        else:
            self.trunk = int(self.contexts.lengths[self.index])
        return event

    def hear_probe(self, probe: Probe) -> bool:
        """Puts a probe to the simulator, if it and its answer have room."""
        piece = self.contexts.chat.incoming(probe.text)
        if not self.contexts.has_room(self.index, piece):
            return False
        self.contexts.append(self.index, piece)
        return True

    def hear(self, text: str) -> str:
        """Takes what the task agent said; truncates if it and a next line have no room (an opening must have it)."""
        text = super().hear(text)
        if self.terminated:
            return text
        opens = self.line_count == 0
        chat = self.contexts.chat
        incoming = "\n".join([text, *self.conversation.scenario.told_before(self.line_count)])
        piece = chat.opening(self.conversation.system("simulator"), incoming) if opens else chat.incoming(incoming)
        if self.contexts.has_room(self.index, piece):
            self.contexts.append(self.index, piece)
        elif opens:
            raise InputError(
                f"Expected context >= {len(piece) + self.contexts.line_room} for persona "
                f"{self.conversation.persona.id!r}, got {self.contexts.context}: raise context or shorten the persona."
            )
        else:
            self.truncated = True
        return text

    def snapshot(self) -> EpisodeState:
        """Returns all of the episode's state, its context included."""
        ids = self.contexts.ids[self.index, : self.contexts.lengths[self.index]].tolist()
        start = int(self.contexts.starts[self.index])
        return replace(super().snapshot(), tokens=TokenState(tuple(ids), start, self.trunk))

    def restore(self, state: EpisodeState) -> None:
        """Goes back to a state, which must have tokens that fit."""
        tokens = state.tokens
        if tokens is None or len(tokens.ids) > self.contexts.context:
            found = "none" if tokens is None else len(tokens.ids)
            raise InputError(
                f"Expected a snapshot of at most {self.contexts.context} tokens, got {found}: "
                "take it from an environment with the same context."
            )
        super().restore(state)
        self.contexts.cut_back(self.index, 0)
        self.contexts.append(self.index, tokens.ids)
        self.contexts.starts[self.index], self.trunk = tokens.start, tokens.trunk
