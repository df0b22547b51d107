"""Rows whose lines are said token by token, in one preallocated array.

The learner's token ids are kept as they were sampled: text is decoded from them and never encoded
back. What is heard is encoded once, in one piece, behind them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from persona_env.conversation import Probe
from persona_env.envs.episode import Episode, EpisodeState, Info, TokenState
from persona_env.errors import InputError
from persona_env.persona import Persona

__all__ = ["TokenContexts", "TokenEpisode", "TokenFormat"]


class TokenFormat(Protocol):
    """How a dialogue is written in token ids, as `ChatFormat` knows it."""

    @property
    def end_id(self) -> int:
        """The token that ends an own line."""
        ...

    @property
    def end_ids(self) -> frozenset[int]:
        """All tokens that are taken for an end."""
        ...

    @property
    def pad_id(self) -> int:
        """The padding, which never stands inside a context."""
        ...

    @property
    def forbidden_ids(self) -> tuple[int, ...]:
        """Control tokens that no line may hold."""
        ...

    @property
    def vocabulary(self) -> int:
        """The number of token ids."""
        ...

    def opening(self, system: str, first: str) -> list[int]:
        """Returns everything up to where the learner says its first line."""
        ...

    def incoming(self, text: str) -> list[int]:
        """Returns what stands between the end of an own line and the start of the next."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of an own line."""
        ...


class TokenContexts:
    """The contexts of N rows and the lines being said in them.

    A line ends with an end token. A control token in its place counts as one: it is written down as
    `end_id`, so nobody can forge a turn. A line of `max_tokens` without an end is given one.
    A line only starts where there is room for all of it.

    Attributes:
        ids: (N, context) int32, right-padded.
        lengths: (N,) int64, tokens in each context.
        starts: (N,) int64, where the line that is being said begins.
    """

    def __init__(self, rows: int, chat: TokenFormat, context: int, max_tokens: int):
        self.chat, self.context, self.max_tokens = chat, context, max_tokens
        self.line_room = max_tokens + 1
        self.ids = np.full((rows, context), chat.pad_id, np.int32)
        self.lengths = np.zeros(rows, np.int64)
        self.starts = np.zeros(rows, np.int64)
        self._places = np.arange(rows)
        self._said = np.arange(chat.vocabulary, dtype=np.int32)
        self._said[list({*chat.forbidden_ids, chat.pad_id} - chat.end_ids)] = chat.end_id
        self._ends = np.zeros(chat.vocabulary, bool)
        self._ends[list(chat.end_ids)] = True

    def push(self, actions: Any) -> list[int]:
        """Says one token in each row; returns the rows whose line is now complete.

        Args:
            actions: (N,) integers in [0, vocabulary).

        Raises:
            ValueError: If they are not.
        """
        tokens = self._said[self._checked(actions)]
        self.ids[self._places, self.lengths] = tokens
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
                f"got {repr(actions)[:60]}: give one integer for each row."
            )
        return tokens

    def text(self, place: int) -> str:
        """Returns what was said in a row since its line began."""
        return self.chat.decode(self.ids[place, self.starts[place] : self.lengths[place]].tolist())

    def has_room(self, place: int, piece: Sequence[int]) -> bool:
        """Whether a heard piece fits, and a whole line behind it."""
        return int(self.lengths[place]) + len(piece) + self.line_room <= self.context

    def append(self, place: int, piece: Sequence[int]) -> None:
        """Writes a heard piece behind a context; the next line begins there."""
        length = int(self.lengths[place])
        end = length + len(piece)
        self.ids[place, length:end] = piece
        self.lengths[place] = self.starts[place] = end

    def cut_back(self, place: int, length: int) -> None:
        """Takes everything from `length` on out of a context."""
        self.ids[place, length : self.lengths[place]] = self.chat.pad_id
        self.lengths[place] = self.starts[place] = length


class TokenEpisode(Episode):
    """A row whose context stands in a `TokenContexts`.

    A question that has no room is skipped, and a dialogue that has none is truncated.
    """

    def __init__(self, rng: np.random.Generator, max_lines: int, table: TokenContexts, place: int):
        super().__init__(rng, max_lines)
        self.table, self.place, self.trunk = table, place, 0

    def start(self, persona: Persona) -> None:
        """Begins a new dialogue with an empty context."""
        super().start(persona)
        self.table.cut_back(self.place, 0)

    def complete(self, text: str) -> Info:
        """Takes what was said; an answer and its question are cut out of the context again."""
        info = super().complete(text)
        if "answer" in info:
            self.table.cut_back(self.place, self.trunk)
        else:
            self.trunk = int(self.table.lengths[self.place])
        return info

    def hear_probe(self, question: Probe) -> bool:
        """Puts a question to the simulator, if it and its answer have room."""
        piece = self.table.chat.incoming(question.text)
        if not self.table.has_room(self.place, piece):
            return False
        self.table.append(self.place, piece)
        return True

    def hear(self, text: str) -> str:
        """Takes what the task agent said; truncates if it and a next line have no room.

        Raises:
            ValueError: If the context cannot hold the opening of the dialogue.
        """
        text = super().hear(text)
        if self.terminated:
            return text
        opens, persona = self.line_count == 0, self.conversation.persona
        chat = self.table.chat
        piece = chat.opening(persona.prompt, text) if opens else chat.incoming(text)
        if self.table.has_room(self.place, piece):
            self.table.append(self.place, piece)
        elif opens:
            raise InputError(
                f"Expected context >= {len(piece) + self.table.line_room} for persona "
                f"{persona.id!r}, got {self.table.context}: raise context or shorten the persona."
            )
        else:
            self.truncated = True
        return text

    def snapshot(self) -> EpisodeState:
        """Returns all of the row's state, its context included."""
        length = int(self.table.lengths[self.place])
        ids = tuple(self.table.ids[self.place, :length].tolist())
        start = int(self.table.starts[self.place])
        return replace(super().snapshot(), tokens=TokenState(ids, start, self.trunk))

    def restore(self, state: EpisodeState) -> None:
        """Goes back to a state.

        Raises:
            ValueError: If the state is of a row without tokens, or of a longer context.
        """
        tokens = state.tokens
        if tokens is None or len(tokens.ids) > self.table.context:
            found = "none" if tokens is None else len(tokens.ids)
            raise InputError(
                f"Expected a snapshot of at most {self.table.context} tokens, got {found}: "
                "take it from an environment with the same context."
            )
        super().restore(state)
        self.table.cut_back(self.place, 0)
        self.table.append(self.place, tokens.ids)
        self.table.starts[self.place], self.trunk = tokens.start, tokens.trunk
