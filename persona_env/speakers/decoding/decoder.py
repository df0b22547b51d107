"""Incremental decoding of rows of token ids: the interface, and the implementation without a cache."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from persona_env.errors import InputError

__all__ = [
    "Decoder",
    "FullForwardDecoder",
    "before_output",
    "distance",
    "rope_follows_length",
    "setting",
    "tolerance",
    "usable_length",
]

Ints = NDArray[np.int64]


class Decoder(ABC):
    """Rows of token ids, and the model's next-token logits after each row.

    The model must be in evaluation mode whenever it is run. `ids` (rows, max_len) are the tokens that were read, and
    `n` (rows,) is the number of them, 0 in an empty row.
    """

    def __init__(self, model: PreTrainedModel, rows: int, max_len: int):
        self.model, self.rows, self.max_len = model, rows, max_len
        self.ids = np.zeros((rows, max_len), np.int64)
        self.n = np.zeros(rows, np.int64)
        if model.get_output_embeddings() is None:
            raise InputError("Expected a causal language model, got one without logits: load another.")

    def clear_cache(self) -> None:
        """Empties all rows; call it when the weights have changed."""
        self.n[:] = 0

    def common_prefix(self, ids: NDArray[Any], rows: Any) -> Ints:
        """Returns the length of each row's common prefix (R,) with contexts (R, width), or with one of (width,)."""
        width = ids.shape[-1]
        differs = self.ids[rows, :width] != ids
        differs |= np.arange(width) >= self.n[rows, None]
        return np.where(differs.any(1), differs.argmax(1), width)

    @abstractmethod
    def step(self, slots: Ints, start: Ints, count: Ints, tokens: Ints) -> tuple[Tensor, Tensor]:
        """Runs new tokens (N,) in some slots, replacing what follows `start` there: the lowest level, without checks.

        The slots (R,) are different row numbers; each gets `count` (R,) >= 1 tokens from position `start` (R,) on.
        Returns logits (R, V) and last hidden states (R, d) after each slot's last token.
        """

    def extend(self, ids: NDArray[Any], n: NDArray[Any], rows: Ints | None = None) -> tuple[Tensor, Tensor]:
        """Reads whole contexts; only the tokens after each row's longest cached prefix are run.

        The contexts `ids` (R, width) are right-padded, `n` (R,) are their lengths in [1, max_len], and `rows` (R,) the
        different rows that they belong to (all if None). Returns the same as `step`.

        Raises:
            InputError: If a context is empty or too long, or the model is in training mode.
        """
        where: Any = slice(None) if rows is None else rows
        rows = np.arange(self.rows) if rows is None else rows
        n = np.asarray(n, np.int64)
        width = int(n.max())
        if int(n.min()) < 1 or width > min(self.max_len, ids.shape[1]):
            raise InputError(
                f"Expected contexts of 1 to {self.max_len} tokens, got {n.min()} to {width}: shorten the dialogue."
            )
        ids, column = ids[:, :width], np.arange(width)
        start = np.minimum(self.common_prefix(ids, where), n - 1)
        tokens = ids[(column >= start[:, None]) & (column < n[:, None])]
        self.n[where] = start  # before the ids: if the step is interrupted, only this much is valid
        self.ids[where, :width] = ids
        out = self.step(rows, start, n - start, tokens.astype(np.int64))
        self.n[where] = n
        return out

    def append(self, rows: Ints, tokens: Ints) -> tuple[Tensor, Tensor]:
        """Reads one more token (R,) in each of some rows; returns the same as `step`."""
        start = self.n[rows]
        self.ids[rows, start] = tokens
        out = self.step(rows, start, np.ones_like(start), tokens)
        self.n[rows] += 1
        return out

    def _forward(self, last: Any, **inputs: Any) -> tuple[Tensor, Tensor]:
        """Runs the model; `last` selects the final hidden states that go through the output layer (None: all)."""
        if self.model.training:
            raise InputError(
                "Expected a model in evaluation mode, got training mode: call eval(), dropout "
                "would change the log-probabilities."
            )
        seen: list[Tensor] = []

        def keep_last(module: torch.nn.Module, args: tuple[Any, ...]) -> tuple[Tensor]:
            seen.append(args[0] if last is None else args[0][last])
            return (seen[0],)

        with before_output(self.model, keep_last), torch.inference_mode():
            logits = self.model(**inputs).logits
        # Clones made outside inference mode are ordinary tensors.
        return logits.flatten(0, -2).clone(), seen[0].flatten(0, -2).clone()


class FullForwardDecoder(Decoder):
    """A decoder without a cache: each step runs whole contexts. Slow, and right for every model's `usable_length`."""

    def step(self, slots: Ints, start: Ints, count: Ints, tokens: Ints) -> tuple[Tensor, Tensor]:
        """See `Decoder.step`."""
        total = start + count
        for slot, end, piece in zip(slots, total, np.split(tokens, np.cumsum(count)[:-1]), strict=True):
            self.ids[slot, end - len(piece) : end] = piece
        width, device = int(total.max()), self.model.device
        real = np.arange(width) < total[:, None]
        ids = np.where(real, self.ids[slots, :width], self.ids[slots, :1])
        row = torch.arange(len(slots), device=device)[:, None]
        return self._forward(
            (row, torch.from_numpy(total - 1).to(device)[:, None]),
            input_ids=torch.from_numpy(ids).to(device),
            attention_mask=torch.from_numpy(real.astype(np.int64)).to(device),
            use_cache=False,
        )


@contextlib.contextmanager
def before_output(model: Any, hook: Callable[..., tuple[Tensor]]) -> Iterator[None]:
    """Replaces what enters the model's output layer by what the hook returns of it."""
    handle = model.get_output_embeddings().register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def tolerance(dtype: torch.dtype) -> float:
    """Returns the largest `distance` from the full forward that counts as equal."""
    return {torch.float32: 2e-5, torch.float64: 1e-6}.get(dtype, 0.02)


def distance(got: Tensor, want: Tensor) -> float:
    """Returns the largest difference of the log-probabilities of two (..., V) logits, relative to the largest of them.

    Relative to the largest magnitude, because rounding error grows with it: a well-trained model has very small ones.

    >>> distance(torch.tensor([0.0, -100.0]), torch.tensor([0.0, -101.0]))
    0.009900989942252636
    """
    got, want = (logits.detach().float().log_softmax(-1) for logits in (got, want))
    return float((got - want).abs().max() / want.abs().max())


def setting(model: PreTrainedModel, name: str) -> Any:
    """Returns a setting of the text model's configuration, by its standard name; None if it has none."""
    return getattr(model.config.get_text_config(), name, None)


def usable_length(model: PreTrainedModel) -> int:
    """Returns the longest context that a model can read, in tokens.

    Where the RoPE frequencies follow the length, it is the length up to which they stay the same.
    """
    length = int(setting(model, "max_position_embeddings") or 2**15)
    if not rope_follows_length(model):
        return length
    return min(length, int(setting(model, "rope_parameters").get("original_max_position_embeddings") or length))


def rope_follows_length(model: PreTrainedModel) -> bool:
    """Returns whether a long context changes the RoPE frequencies of all rows that are run with it."""
    rope = str(setting(model, "rope_parameters"))
    return "'dynamic'" in rope or "'longrope'" in rope
