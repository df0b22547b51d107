"""Trajectories: the contexts of a rollout, each token stored once.

A row's context grows by a token or by a whole reply, is cut back after a probe, or starts anew. One segment is a
context that only grew, so that one forward pass scores all of its tokens. The segments of a dialogue have a common
prefix: with shared-prefix attention they share a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Packed", "Slice", "Trajectories", "TrajectoryRecorder"]

Ints = NDArray[np.integer]
Flags = NDArray[np.bool_]
_SIMILAR = 0.7  # a row shorter than this share of the longest in its slice begins another


class Slice(NamedTuple):
    """Some neighbouring rows of a batch, as wide as the longest of them, and the choices in them."""

    rows: slice
    width: int
    choices: slice


@dataclass(frozen=True, eq=False)
class Packed:
    """A batch of whole segments, and the positions in it at which the learner chose a token."""

    input_ids: NDArray[np.int64]  # (R, L), right-padded
    row: NDArray[np.int64]  # (A,) the row of each choice
    position: NDArray[np.int64]  # (A,) the column of the last token read before the choice
    step: NDArray[np.int64]  # (A,) the choice's index into the rollout's (T, N) arrays, flattened
    slices: tuple[Slice, ...]  # rows of similar length, to be run one slice after the other
    branches: NDArray[np.int64] | None = None  # (3, R, L), see `shared_prefixes`; None: each row is one segment


class _PackedRow(NamedTuple):
    """One row: tokens (l,), branches (3, l), and its choices' columns (a,) and steps (a,)."""

    tokens: NDArray[np.int32]
    branches: NDArray[np.int64]
    columns: NDArray[np.int64]
    steps: Ints


@dataclass(frozen=True, eq=False)
class Trajectories:
    """The segments of a finished rollout of T steps and N rows."""

    tokens: NDArray[np.int32]  # (M,) each row's new tokens, row after row
    parent: Ints  # (S,) the segment that a segment shares a prefix with, -1 for none
    shared_prefix: Ints  # (S,) the length of that prefix
    begin: Ints  # (S,) where its own tokens begin in `tokens`
    end: Ints  # (S,) where they end
    steps: Ints  # (T * N,) indices into the flattened (T, N) arrays, sorted by segment
    offsets: Ints  # (S + 1,) where each segment's steps begin and end in `steps`
    positions: Ints  # (T, N) the position in its segment of the last token read before each choice
    pad_id: int

    @property
    def lengths(self) -> Ints:
        """(S,) the tokens of each segment, the shared prefix included."""
        return self.shared_prefix + self.end - self.begin

    @property
    def choices(self) -> Ints:
        """(S,) the tokens that the learner chose in each segment."""
        return np.diff(self.offsets)

    def ids(self, segment: int) -> NDArray[np.int32]:
        """Returns a segment's token ids, from the beginning of its context."""
        pieces, need = [], int(self.lengths[segment])
        while need > 0:
            prefix = int(self.shared_prefix[segment])
            if need > prefix:
                pieces.append(self.tokens[self.begin[segment] : self.begin[segment] + need - prefix])
                need = prefix
            segment = int(self.parent[segment])
        return np.concatenate(pieces[::-1])

    def packed(self, segments: Ints, most: int, *, shared: bool = False) -> Packed:
        """Returns these segments as one batch, the longest row first, in slices of at most `most` tokens with padding.

        A longer row is a slice of its own. With `shared` the segments of a dialogue share a row, which holds their
        common prefix once.
        """
        groups = self._dialogues(segments) if shared else [segments[i : i + 1] for i in range(len(segments))]
        rows = sorted(map(self._row, groups), key=lambda row: -len(row.tokens))
        lengths, choices = [len(row.tokens) for row in rows], [len(row.columns) for row in rows]
        input_ids = np.full((len(rows), lengths[0]), self.pad_id, np.int64)
        branches = np.zeros((3, *input_ids.shape), np.int64)
        branches[1] = -1
        for number, row in enumerate(rows):
            input_ids[number, : lengths[number]] = row.tokens
            branches[:, number, : lengths[number]] = row.branches
        return Packed(
            input_ids,
            row=np.repeat(np.arange(len(rows)), choices),
            position=np.concatenate([row.columns for row in rows]),
            step=np.concatenate([row.steps for row in rows]).astype(np.int64),
            slices=_slices(lengths, [0, *accumulate(choices)], most),
            branches=branches if shared else None,
        )

    def _dialogues(self, segments: Ints) -> list[Ints]:
        """Returns the segments by dialogue, each dialogue's in their order in time."""
        segments = np.sort(segments)
        return np.split(segments, np.flatnonzero(self.parent[segments[1:]] != segments[:-1]) + 1)

    def _row(self, segments: Ints) -> _PackedRow:
        """Returns a row: the last segment, then of each other the tokens that it does not share with the last."""
        last = int(segments[-1])
        tokens = [self.ids(last)]
        stop, shared = len(tokens[0]), int(self.lengths[last])
        branches, columns, steps = [_branch(0, 0, stop)], [], []
        for number, segment in enumerate(segments[::-1].tolist()):
            taken = self.steps[self.offsets[segment] : self.offsets[segment + 1]]
            position = self.positions.reshape(-1)[taken].astype(np.int64)
            columns.append(np.where(position < shared, position, position - shared + stop))
            steps.append(taken)
            if number:
                tail = self.ids(segment)[shared:]
                tokens.append(tail)
                branches.append(_branch(number, shared, len(tail)))
                stop += len(tail)
            shared = min(shared, int(self.shared_prefix[segment]))
        parts = np.concatenate(tokens), np.concatenate(branches, 1), np.concatenate(columns), np.concatenate(steps)
        return _PackedRow(*parts)

    def batches(self, size: int, rng: np.random.Generator | None = None) -> list[Ints]:
        """Returns the segments in batches of about `size` choices, the dialogues shuffled and none of them split.

        The order is drawn from `rng`; None: numpy's global generator, which stable-baselines3 seeds and draws from too.
        """
        dialogues = self._dialogues(np.arange(len(self.parent)))
        permutation = np.random.permutation if rng is None else rng.permutation
        order = [dialogues[i] for i in permutation(len(dialogues))]
        choices = np.cumsum([self.choices[segments].sum() for segments in order])
        count = max(1, round(int(choices[-1]) / size))
        cuts = np.searchsorted(choices, np.arange(1, count) * choices[-1] / count)
        parts = [order[a:b] for a, b in pairwise([0, *cuts.tolist(), len(order)])]
        return [np.concatenate(part) for part in parts if part]


def _branch(number: int, fork: int, count: int) -> NDArray[np.int64]:
    """Positions, branch numbers and forks (3, count) of a branch's own tokens."""
    position = np.arange(fork, fork + count)
    return np.stack([position, np.full_like(position, number), np.full_like(position, fork)])


def _slices(lengths: list[int], offsets: list[int], most: int) -> tuple[Slice, ...]:
    """Cuts rows, the longest first, where a slice grows too large or its padding too wide."""
    found, begin = [], 0
    for row in range(1, len(lengths) + 1):
        width = lengths[begin]
        if row == len(lengths) or ((row + 1 - begin) * width > most or lengths[row] < _SIMILAR * width):
            found.append(Slice(slice(begin, row), width, slice(offsets[begin], offsets[row])))
            begin = row
    return tuple(found)


class TrajectoryRecorder:
    """Records the contexts of N rows, at most `context` long, for T steps, each token once."""

    def __init__(self, steps: int, rows: int, context: int, pad_id: int):
        self.shape, self.pad_id = (steps, rows), pad_id
        small = np.uint16 if context < 2**16 else np.int32
        self.start, self.stop = np.zeros(self.shape, small), np.zeros(self.shape, small)
        self.grown = np.zeros(self.shape, np.bool_)
        self.tokens, self.count, self.step = np.zeros(1, np.int32), 0, 0
        self._last: NDArray[np.int32] | None = None
        self._column = np.arange(context)

    def add(self, contexts: NDArray[np.int32], begins: Flags) -> None:
        """Records the contexts (N, context) in which the rows now choose; `begins` (N,): a dialogue begins."""
        start, stop, grown = self.compare(contexts, begins)
        column = self._column[: stop.max()]
        new = contexts[:, : len(column)][(column >= start[:, None]) & (column < stop[:, None])]
        needed = self.count + len(new)
        if needed > len(self.tokens):
            self.tokens = np.resize(self.tokens, needed + needed // 2)
        self.tokens[self.count : needed] = new
        self.count = needed
        self.start[self.step], self.stop[self.step], self.grown[self.step] = start, stop, grown
        self.step, self._last = self.step + 1, contexts

    def compare(self, contexts: NDArray[np.int32], begins: Flags) -> tuple[Ints, Ints, Flags]:
        """Returns the length of each context's known prefix (N,), its length (N,), and whether it only grew (N,)."""
        stop = (contexts != self.pad_id).sum(1)
        if self._last is None:
            return np.zeros_like(stop), stop, np.zeros(len(stop), np.bool_)
        before = self.stop[self.step - 1].astype(np.int64)
        width = max(int(stop.max()), int(before.max()))
        differs = self._last[:, :width] != contexts[:, :width]
        start = np.where(differs.any(1), differs.argmax(1), width)
        start = np.where(begins, 0, np.minimum(start, np.minimum(stop, before)))
        return start, stop, ~begins & (start == before) & (stop > before)

    def line_ends(self, after: NDArray[np.int32] | None, begins: Flags) -> Flags:
        """Returns whether each step's token ended its line (T, N): the other speaker's reply follows.

        `after` are the contexts (N, context) after the last step (None: the last lines count as unfinished), and
        `begins` (N,) whether these begin a dialogue.
        """
        ends = np.zeros(self.shape, np.bool_)
        stop = self.stop.astype(np.int64)
        ends[:-1] = ~(self.grown[1:] & (stop[1:] == stop[:-1] + 1))
        ends[-1] = begins
        if after is not None:
            _, length, grown = self.compare(after, begins)
            ends[-1] = ~(grown & (length == stop[-1] + 1))
        return ends

    def finish(self) -> Trajectories:
        """Returns the recorded steps as segments, and frees the recorder's own arrays."""
        self._last = None
        added = self.stop.astype(np.int64) - self.start
        tokens, by_row = self._by_row(added), added.T.reshape(-1)
        first = np.flatnonzero(~self.grown.T.reshape(-1))  # any other change opens a segment
        begin = np.cumsum(by_row)[first] - by_row[first]
        prefix = self.start.T.reshape(-1)[first].astype(np.int32)
        steps = np.arange(added.size, dtype=np.int32).reshape(self.shape).T.reshape(-1)
        return Trajectories(
            tokens,
            parent=np.where(prefix > 0, np.arange(len(first)) - 1, -1),
            shared_prefix=prefix,
            begin=begin,
            end=np.append(begin[1:], len(tokens)),
            steps=steps,
            offsets=np.append(first, added.size),
            positions=self.stop - 1,
            pad_id=self.pad_id,
        )

    def _by_row(self, added: NDArray[np.int64]) -> NDArray[np.int32]:
        """The tokens row after row; they were recorded step after step."""
        offsets = np.cumsum(added.reshape(-1)).reshape(added.shape) - added
        tokens, filled, recorded = np.empty(self.count, np.int32), 0, self.tokens
        self.tokens = np.zeros(1, np.int32)
        for row in range(added.shape[1]):
            count, offset = added[:, row], offsets[:, row]
            within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
            tokens[filled : filled + len(within)] = recorded[np.repeat(offset, count) + within]
            filled += len(within)
        return tokens
