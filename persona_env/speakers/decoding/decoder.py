"""Rows of token ids and the next-token logits after each: the interface, and the way without a cache.

In here: `Decoder`, `FullForwardDecoder` (whole contexts at each step), and what both ways ask of a model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from persona_env.errors import InputError

__all__ = [
    "Decoder",
    "FullForwardDecoder",
    "distance",
    "rope_follows_length",
    "tolerance",
    "trained_length",
    "usable_length",
]

Ints: TypeAlias = NDArray[np.int64]


class Decoder(ABC):
    """Rows of token ids, and the model's next-token logits after each of them.

    Attributes:
        model: The model; it must be in evaluation mode whenever it is run.
        rows: The number of conversations.
        max_len: The longest context of a row.
        scratch: How many branches can be read at once.
        ids: (rows, max_len) the tokens that were read.
        n: (rows,) how many of them; 0 in a row that was forgotten.
    """

    def __init__(self, model: PreTrainedModel, rows: int, max_len: int, scratch: int = 0):
        if rows < 1 or max_len < 1 or scratch < 0:
            raise InputError(
                f"Expected rows >= 1, max_len >= 1, scratch >= 0, got {rows}, {max_len}, {scratch}: "
                "give each conversation a row."
            )
        self.model, self.rows, self.max_len, self.scratch = model, rows, max_len, scratch
        self.ids = np.zeros((rows, max_len), np.int64)
        self.n = np.zeros(rows, np.int64)
        self._head: Any = model.get_output_embeddings()
        if self._head is None:
            raise InputError("Expected a causal language model, got one without logits: load another.")

    def clear_cache(self) -> None:
        """Drops all that was read; call it when the weights have changed."""
        self.n[:] = 0

    def grow(self, rows: int) -> None:
        """Makes it `rows` rows if there are fewer; what was read stays."""
        more = rows - self.rows
        if more > 0:
            self.ids = np.pad(self.ids, ((0, more), (0, 0)))
            self.n = np.pad(self.n, (0, more))
            self.rows = rows
            self._add_slots(more)

    def common_prefix(self, context: Sequence[int] | Ints, rows: Ints) -> Ints:
        """Returns how many of its first tokens a context shares with each of some rows, (R,)."""
        width = min(len(context), int(self.n[rows].max(initial=0)))
        if width == 0:
            return np.zeros(len(rows), np.int64)
        differs = self.ids[rows, :width] != np.asarray(context[:width])
        differs |= np.arange(width) >= self.n[rows, None]
        return np.where(differs.any(1), differs.argmax(1), width)

    @abstractmethod
    def step(self, slots: Ints, start: Ints, count: Ints, tokens: Ints) -> tuple[Tensor, Tensor]:
        """Reads new tokens into some slots, over whatever was there from `start` on.

        The lowest level: `ids` and `n` are not kept up to date.

        Args:
            slots: (R,) different slot numbers; those from `rows` on are scratch.
            start: (R,) the position of each slot's first new token.
            count: (R,) how many new tokens each gets, >= 1.
            tokens: (N,) all new tokens, slot after slot.

        Returns:
            Logits (R, V) and last hidden states (R, d) after each slot's last token.

        Raises:
            ValueError: If the model is in training mode or a context is longer than `max_len`.
        """

    @abstractmethod
    def _add_slots(self, more: int) -> None:
        """Adds slots at the end."""

    @abstractmethod
    def _copy(self, sources: Ints, first: int) -> None:
        """Copies rows to the slots from `first` on."""

    def extend(self, ids: NDArray[Any], n: NDArray[Any], rows: Ints | None = None) -> tuple[Tensor, Tensor]:
        """Reads whole contexts; only what follows each row's longest cached prefix is run.

        Args:
            ids: (R, width) right-padded contexts.
            n: (R,) their lengths, in [1, max_len].
            rows: (R,) the different rows that they belong to, all if None; the others idle.

        Returns:
            Logits (R, V) and last hidden states (R, d) after each context.

        Raises:
            ValueError: If a context is empty or too long, or the model is in training mode.
        """
        where: Any = slice(None) if rows is None else rows
        rows = np.arange(self.rows) if rows is None else rows
        n = np.asarray(n, np.int64)
        self._check_contexts(ids, n, rows)
        width = int(n.max())
        ids, column = ids[:, :width], np.arange(width)
        differs = self.ids[where, :width] != ids
        differs |= column >= self.n[where, None]
        start = np.where(differs.any(1), differs.argmax(1), width)
        start = np.minimum(start, n - 1)
        count = n - start
        if int(count.max()) == 1:
            tokens = ids[np.arange(len(rows)), start]
        else:
            tokens = ids[(column >= start[:, None]) & (column < n[:, None])]
        self.n[where] = start  # should the step be interrupted, no more than this is kept
        out = self.step(rows, start, count, tokens.astype(np.int64))
        self.ids[where, :width], self.n[where] = ids, n
        return out

    def append(self, rows: Ints, tokens: Ints) -> tuple[Tensor, Tensor]:
        """Reads one more token (R,) in each of some rows; returns as `extend` does."""
        start = self.n[rows]
        out = self.step(rows, start, np.ones_like(start), tokens)
        self.ids[rows, start] = tokens
        self.n[rows] += 1
        return out

    def branch(self, rows: Ints, tails: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Reads a tail after each row's context and leaves the rows as they are.

        Args:
            rows: (B,) row numbers, at most `scratch`; a row may stand there twice.
            tails: The tokens that follow, at least one in each tail.

        Returns:
            Logits (B, V) and last hidden states (B, d) after each tail.

        Raises:
            ValueError: If there are more branches than scratch slots, or a tail is empty.
        """
        count = np.array([len(tail) for tail in tails], np.int64)
        if not 0 < len(rows) <= self.scratch or len(count) != len(rows) or count.min() < 1:
            raise InputError(
                f"Expected 1 to {self.scratch} rows with a tail each, got {len(rows)} rows and "
                f"{len(count)} tails of {count.tolist()} tokens: make the decoder with more scratch."
            )
        self._copy(rows, self.rows)
        slots = np.arange(self.rows, self.rows + len(rows))
        return self.step(slots, self.n[rows], count, np.concatenate(tails).astype(np.int64))

    def _check_contexts(self, ids: NDArray[Any], n: Ints, rows: Ints) -> None:
        if not len(ids) == len(n) == len(rows) > 0:
            raise InputError(f"Expected {len(rows)} contexts, got {len(ids)} with {len(n)} lengths: give one a row.")
        if int(n.min()) < 1:
            raise InputError("Expected a token in every row, got an empty context: give one.")
        self._check_length(int(n.max()), ids.shape[1])

    def _check_length(self, length: int, width: int | None = None) -> None:
        most = self.max_len if width is None else min(self.max_len, width)
        if length > most:
            raise InputError(f"Expected a context of at most {most} tokens, got {length}: shorten the dialogue.")

    def _forward(self, last: Any, **inputs: Any) -> tuple[Tensor, Tensor]:
        """Runs the model; `last` picks the final hidden states that get logits (None: all)."""
        if self.model.training:
            raise InputError(
                "Expected a model in evaluation mode, got training mode: call eval(), or dropout "
                "falsifies the log-probabilities."
            )
        seen: list[Tensor] = []

        def keep_last(module: torch.nn.Module, args: tuple[Any, ...]) -> tuple[Tensor]:
            seen.append(args[0] if last is None else args[0][last])
            return (seen[0],)

        hook = self._head.register_forward_pre_hook(keep_last)
        try:
            with torch.inference_mode():
                logits = self.model(**inputs).logits
        finally:
            hook.remove()
        # Clones made outside inference mode are ordinary tensors.
        return logits.flatten(0, -2).clone(), seen[0].flatten(0, -2).clone()


class FullForwardDecoder(Decoder):
    """The same interface without a cache: each step reads whole contexts. Slow, and always right."""

    def __init__(self, model: PreTrainedModel, rows: int, max_len: int, scratch: int = 0):
        super().__init__(model, rows, max_len, scratch)
        self._read = np.zeros((rows + scratch, max_len), np.int64)
        self._one_length_at_a_time = rope_follows_length(model)

    def step(self, slots: Ints, start: Ints, count: Ints, tokens: Ints) -> tuple[Tensor, Tensor]:
        """See `Decoder.step`."""
        total = start + count
        self._check_length(int(total.max()))
        pieces = np.split(tokens, np.cumsum(count)[:-1])
        for slot, begin, end, piece in zip(slots, start, total, pieces, strict=True):
            self._read[slot, begin:end] = piece
        if not self._one_length_at_a_time:
            return self._run(slots, total)
        groups = [np.flatnonzero(total == length) for length in np.unique(total)]
        parts = [self._run(slots[group], total[group]) for group in groups]
        back = torch.from_numpy(np.argsort(np.concatenate(groups))).to(self.model.device)
        logits, hidden = (torch.cat(part)[back] for part in zip(*parts, strict=True))
        return logits, hidden

    def _run(self, slots: Ints, total: Ints) -> tuple[Tensor, Tensor]:
        width, device = int(total.max()), self.model.device
        real = np.arange(width) < total[:, None]
        ids = np.where(real, self._read[slots, :width], self._read[slots, :1])
        row = torch.arange(len(slots), device=device)[:, None]
        return self._forward(
            (row, torch.from_numpy(total - 1).to(device)[:, None]),
            input_ids=torch.from_numpy(ids).to(device),
            attention_mask=torch.from_numpy(real.astype(np.int64)).to(device),
            use_cache=False,
        )

    def _add_slots(self, more: int) -> None:
        self._read = np.pad(self._read, ((0, more), (0, 0)))

    def _copy(self, sources: Ints, first: int) -> None:
        self._read[first : first + len(sources)] = self._read[sources]


def tolerance(dtype: torch.dtype) -> float:
    """Returns the `distance` from the full forward beyond which another way of reading is wrong."""
    return {torch.float32: 2e-5, torch.float64: 1e-6}.get(dtype, 0.02)


def distance(got: Tensor, want: Tensor) -> float:
    """Returns how far log-probabilities are apart at most, as a share of the largest of them.

    A share, as those of a well-trained model reach far below zero, and a number is only as exact as it is small.

    Args:
        got: Logits (..., V).
        want: Those that they are compared with.

    >>> distance(torch.tensor([0.0, -100.0]), torch.tensor([0.0, -101.0]))
    0.009900989942252636
    """
    got, want = (logits.detach().float().log_softmax(-1) for logits in (got, want))
    return float((got - want).abs().max() / want.abs().max())


def usable_length(model: PreTrainedModel) -> int:
    """Returns the longest context that a model can read, in tokens.

    Where the RoPE frequencies follow the length, it is the length up to which they stay the same.
    """
    text = model.config.get_text_config()
    length = int(getattr(text, "max_position_embeddings", None) or 2**15)
    return min(length, trained_length(model) or length) if rope_follows_length(model) else length


def rope_follows_length(model: PreTrainedModel) -> bool:
    """Returns whether a long context changes the RoPE frequencies of all rows that are run with it."""
    rope = str(getattr(model.config.get_text_config(), "rope_parameters", None) or "")
    return "'dynamic'" in rope or "'longrope'" in rope


def trained_length(model: PreTrainedModel) -> int | None:
    """Returns the length up to which RoPE frequencies that follow the length stay the same."""
    text = model.config.get_text_config()
    rope = getattr(text, "rope_parameters", None) or {}
    known = (rope.get("original_max_position_embeddings"), text.max_position_embeddings)
    return next((int(length) for length in known if length), None)
