"""What a language model has read so far: rows of token ids whose keys and values stay cached.

In here: `RaggedDecoder` (rows of different lengths, any transformers decoder that passes its self-check),
`FullForwardDecoder` (the same interface without a cache, for the others) and `make_decoder`, which picks.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import Cache, PreTrainedModel

from persona_env.speakers.ragged_attention import NAME, RaggedPlan, SlotLayer, planned

__all__ = [
    "CannotDecode",
    "Decoder",
    "FullForwardDecoder",
    "RaggedDecoder",
    "make_decoder",
    "usable_length",
]

_MOST_TOKENS = 8192
_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-6}
_PROBE_ERRORS = (RuntimeError, ValueError, TypeError, AttributeError, LookupError)


class CannotDecode(ValueError):
    """The model does not fit the ragged cache; the message says why."""


class Decoder(ABC):
    """Rows of token ids and the model's next-token logits after each of them.

    Attributes:
        model: The model, in evaluation mode whenever it is run.
        rows: The number of conversations.
        max_len: The longest context of a row.
        ids: (rows, max_len) the tokens that were read.
        n: (rows,) how many of them; 0 for a row that was forgotten.
    """

    def __init__(self, model: PreTrainedModel, rows: int, max_len: int, scratch: int = 0):
        if rows < 1 or max_len < 1 or scratch < 0:
            raise ValueError(
                f"Expected rows >= 1, max_len >= 1 and scratch >= 0, got {rows}, {max_len} and {scratch}: "
                "give each conversation a row."
            )
        if model.get_output_embeddings() is None:
            raise CannotDecode(
                "Expected a causal language model, got one without an output layer: load another."
            )
        self.model, self.rows, self.max_len, self.scratch = model, rows, max_len, scratch
        self.ids = np.zeros((rows, max_len), np.int64)
        self.n = np.zeros(rows, np.int64)

    def forget(self) -> None:
        """Drops all that was read; call it when the weights have changed."""
        self.n[:] = 0

    def grow(self, rows: int) -> None:
        """Makes it `rows` rows, if there are fewer; what was read stays."""
        more = rows - self.rows
        if more > 0:
            self.ids = np.pad(self.ids, ((0, more), (0, 0)))
            self.n = np.pad(self.n, (0, more))
            self.rows = rows
            self._grow_slots(more)

    def common_prefix(self, context: Sequence[int], rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns how many of its first tokens a context shares with each of some rows, (R,)."""
        width = min(len(context), int(self.n[rows].max(initial=0)))
        same = self.ids[rows, :width] == np.asarray(context[:width])
        same &= np.arange(width) < self.n[rows, None]
        return np.where(same.all(1), width, same.argmin(1) if width else 0)

    @abstractmethod
    def _grow_slots(self, more: int) -> None:
        """Adds slots."""

    @abstractmethod
    def step(
        self,
        slots: NDArray[np.int64],
        start: NDArray[np.int64],
        count: NDArray[np.int64],
        tokens: NDArray[np.int64],
    ) -> tuple[Tensor, Tensor]:
        """Reads new tokens into some slots, whatever was there from `start` on.

        Args:
            slots: (R,) ascending slot numbers; those from `rows` on are scratch.
            start: (R,) the position of each slot's first new token.
            count: (R,) how many new tokens each gets, >= 1.
            tokens: (N,) all new tokens, slot after slot.

        Returns:
            Logits (R, V) and last hidden states (R, d), after each slot's last token.

        Raises:
            ValueError: If the model is in training mode, or a context is longer than `max_len`.
        """

    @abstractmethod
    def _copy(self, sources: NDArray[np.int64], first: int) -> None:
        """Copies rows to the slots from `first` on."""

    def extend(
        self, ids: NDArray[Any], n: NDArray[Any], rows: NDArray[np.int64] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Reads whole contexts: only what follows each row's longest cached prefix is run.

        Args:
            ids: (R, width) right-padded contexts.
            n: (R,) their lengths, in [1, max_len].
            rows: (R,) ascending numbers of the rows they belong to; all rows if None. The others idle.

        Returns:
            Logits (R, V) and last hidden states (R, d), after each context.

        Raises:
            ValueError: If a context is empty or too long, or the model is in training mode.
        """
        rows = np.arange(self.rows) if rows is None else rows
        n = np.asarray(n, np.int64)
        self._check_shapes(ids, n, rows)
        width = int(n.max())
        ids = ids[:, :width]
        column = np.arange(width)
        everything = len(rows) == self.rows
        cached = self.ids[:, :width] if everything else self.ids[rows, :width]
        differs = (cached != ids) | (column >= self.n[rows, None])
        start = np.where(differs.any(1), differs.argmax(1), width)
        start = np.minimum(start, n - 1)
        self.n[rows] = start  # should the step be interrupted, no more than this is kept
        if (n - start == 1).all():
            tokens = ids[np.arange(len(rows)), start]
        else:
            tokens = ids[(column >= start[:, None]) & (column < n[:, None])]
        out = self.step(rows, start, n - start, tokens.astype(np.int64))
        if everything:
            self.ids[:, :width] = ids
        else:
            self.ids[rows, :width] = ids
        self.n[rows] = n
        return out

    def append(self, rows: NDArray[np.int64], tokens: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Reads one more token in each of some rows (ascending); returns as `extend` does."""
        start = self.n[rows]
        if int(start.max()) >= self.max_len:
            raise _too_long(int(start.max()) + 1, self.max_len)
        out = self.step(rows, start, np.ones_like(start), tokens)
        self.ids[rows, start] = tokens
        self.n[rows] += 1
        return out

    def branch(
        self, rows: NDArray[np.int64], tails: Sequence[Sequence[int]]
    ) -> tuple[Tensor, Tensor]:
        """Returns (logits, hidden) after each row's context and a tail; the rows stay as they are.

        Args:
            rows: (B,) row numbers, at most `scratch` of them; a row may stand there twice.
            tails: The tokens that follow, at least one for each.
        """
        rows = np.asarray(rows, np.int64)
        if (
            len(rows) > self.scratch
            or len(tails) != len(rows)
            or not all(len(tail) for tail in tails)
        ):
            raise ValueError(
                f"Expected up to {self.scratch} rows with a tail each, got {len(rows)} and {len(tails)}: "
                "ask for more scratch slots."
            )
        self._copy(rows, self.rows)
        slots = np.arange(self.rows, self.rows + len(rows))
        count = np.array([len(tail) for tail in tails])
        return self.step(slots, self.n[rows], count, np.concatenate(tails).astype(np.int64))

    def _check_shapes(
        self, ids: NDArray[Any], n: NDArray[np.int64], rows: NDArray[np.int64]
    ) -> None:
        if len(ids) != len(rows) or len(n) != len(rows):
            raise ValueError(
                f"Expected {len(rows)} rows, got {len(ids)} contexts and {len(n)} lengths: give each."
            )
        if int(n.min()) < 1:
            raise ValueError(
                "Expected a token in every row, got an empty context: give at least one."
            )
        if int(n.max()) > min(self.max_len, ids.shape[1]):
            raise _too_long(int(n.max()), min(self.max_len, ids.shape[1]))

    def _check_step(self, total: int) -> None:
        if self.model.training:
            raise ValueError(
                "Expected a model in evaluation mode, got training mode: call eval(), "
                "dropout would falsify the log-probabilities."
            )
        if total > self.max_len:
            raise _too_long(total, self.max_len)

    def _forward(self, last: Any, **inputs: Any) -> tuple[Tensor, Tensor]:
        """Runs the model; `last` picks, from the final hidden states, those that get logits."""
        seen: list[Tensor] = []

        def keep_last(module: torch.nn.Module, args: tuple[Any, ...]) -> tuple[Tensor]:
            hidden = args[0][last] if last is not None else args[0]
            seen.append(hidden)
            return (hidden,)

        hook = self.model.get_output_embeddings().register_forward_pre_hook(keep_last)
        try:
            with torch.inference_mode():
                logits = self.model(**inputs).logits
        finally:
            hook.remove()
        # clones made outside inference mode are ordinary tensors
        return logits.flatten(0, -2).clone(), seen[0].flatten(0, -2).clone()


class RaggedDecoder(Decoder):
    """Keeps conversations of different lengths cached; a step runs the new tokens of all of them at once.

    The model is left as it was found: its attention implementation is switched during a step only.
    At construction the decoder compares itself with the model's full forward on two rows.

    Args:
        model: Any transformers decoder whose attention goes through the attention interface.
        rows: The number of conversations.
        max_len: The longest context; memory grows with what is used.
        scratch: Further slots for `branch`.

    Raises:
        CannotDecode: If the model does not fit, with the reason.

    >>> from transformers import LlamaConfig, LlamaForCausalLM
    >>> config = LlamaConfig(vocab_size=20, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
    ...                      num_attention_heads=2)
    >>> decoder = RaggedDecoder(LlamaForCausalLM(config).eval(), rows=2, max_len=16)
    >>> logits, hidden = decoder.extend(np.array([[3, 4, 5], [6, 7, 0]]), np.array([3, 2]))
    >>> logits.shape, hidden.shape
    (torch.Size([2, 20]), torch.Size([2, 8]))
    """

    def __init__(self, model: PreTrainedModel, rows: int, max_len: int, scratch: int = 0):
        super().__init__(model, rows, max_len, scratch)
        reason = _refusal(model, max_len)
        if reason:
            raise CannotDecode(
                f"Expected a model that fits the ragged cache, got {reason}: use FullForwardDecoder."
            )
        self._layers = model.config.get_text_config().num_hidden_layers
        self._set_up(2, min(max_len, 24))
        _check_against_full_forward(self, min(max_len, 24))
        self._set_up(rows + scratch, max_len)

    def _set_up(self, slots: int, max_len: int) -> None:
        self.cache = Cache(layers=[SlotLayer(slots, max_len) for _ in range(self._layers)])

    @torch.inference_mode()
    def forget(self) -> None:
        """Drops all that was read; call it when the weights have changed.

        The stores are zeroed too: a nan left behind the mask would still spread (0 * nan).
        """
        super().forget()
        self.cache.reset()

    def step(
        self,
        slots: NDArray[np.int64],
        start: NDArray[np.int64],
        count: NDArray[np.int64],
        tokens: NDArray[np.int64],
    ) -> tuple[Tensor, Tensor]:
        """See `Decoder.step`."""
        self._check_step(int((start + count).max()))
        if len(tokens) > _MOST_TOKENS and len(slots) > 1:
            half = len(slots) // 2
            cut = int(count[:half].sum())
            first = self.step(slots[:half], start[:half], count[:half], tokens[:cut])
            second = self.step(slots[half:], start[half:], count[half:], tokens[cut:])
            return torch.cat([first[0], second[0]]), torch.cat([first[1], second[1]])
        return self._run(slots, start, count, tokens)

    def _run(
        self,
        slots: NDArray[np.int64],
        start: NDArray[np.int64],
        count: NDArray[np.int64],
        tokens: NDArray[np.int64],
    ) -> tuple[Tensor, Tensor]:
        device, config = self.model.device, self.model.config
        plan = RaggedPlan.lay_out(slots, start, count, self._layers - 1, device)
        found, token = config._attn_implementation, planned.set(plan)
        config._attn_implementation = NAME
        try:
            out = self._forward(
                None if plan.last is None else (slice(None), plan.last),
                input_ids=torch.from_numpy(tokens).to(device)[None],
                position_ids=plan.at[None],
                past_key_values=self.cache,
                use_cache=True,
            )
        finally:
            config._attn_implementation = found
            planned.reset(token)
        if plan.calls != self._layers:
            raise CannotDecode(
                f"Expected {self._layers} attention calls through the interface, got {plan.calls}: "
                "use FullForwardDecoder."
            )
        return out

    @torch.inference_mode()
    def _grow_slots(self, more: int) -> None:
        for layer in self.cache.layers:
            layer.add_slots(more)

    @torch.inference_mode()
    def _copy(self, sources: NDArray[np.int64], first: int) -> None:
        length, index = int(self.n[sources].max()), torch.from_numpy(sources).to(self.model.device)
        for layer in self.cache.layers:
            layer.copy(index, first, length)


class FullForwardDecoder(Decoder):
    """The same interface without a cache: each step reads the whole contexts again. Slow, and always right."""

    def __init__(self, model: PreTrainedModel, rows: int, max_len: int, scratch: int = 0):
        super().__init__(model, rows, max_len, scratch)
        self._read = np.zeros((rows + scratch, max_len), np.int64)
        self._one_length_at_a_time = _rope_follows_length(model)

    def step(
        self,
        slots: NDArray[np.int64],
        start: NDArray[np.int64],
        count: NDArray[np.int64],
        tokens: NDArray[np.int64],
    ) -> tuple[Tensor, Tensor]:
        """See `Decoder.step`."""
        total = start + count
        self._check_step(int(total.max()))
        for slot, begin, end, new in zip(
            slots, start, total, np.split(tokens, np.cumsum(count)[:-1]), strict=True
        ):
            self._read[slot, begin:end] = new
        if not self._one_length_at_a_time:
            return self._run(slots, total)
        order, parts = [], []
        for length in np.unique(total):
            group = np.flatnonzero(total == length)
            order.append(group)
            parts.append(self._run(slots[group], total[group]))
        back = torch.from_numpy(np.argsort(np.concatenate(order))).to(self.model.device)
        logits, hidden = (torch.cat(part)[back] for part in zip(*parts, strict=True))
        return logits, hidden

    def _run(self, slots: NDArray[np.int64], total: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        width, device = int(total.max()), self.model.device
        real = np.arange(width) < total[:, None]
        ids = torch.from_numpy(np.where(real, self._read[slots, :width], self._read[slots, :1])).to(
            device
        )
        row = torch.arange(len(slots), device=device)[:, None]
        last = torch.from_numpy(total - 1).to(device)[:, None]
        mask = None if real.all() else torch.from_numpy(real.astype(np.int64)).to(device)
        return self._forward((row, last), input_ids=ids, attention_mask=mask, use_cache=False)

    def _grow_slots(self, more: int) -> None:
        self._read = np.pad(self._read, ((0, more), (0, 0)))

    def _copy(self, sources: NDArray[np.int64], first: int) -> None:
        self._read[first : first + len(sources)] = self._read[sources]


def make_decoder(model: PreTrainedModel, rows: int, max_len: int, scratch: int = 0) -> Decoder:
    """Returns a `RaggedDecoder`, or where the model does not fit, with a warning, a `FullForwardDecoder`."""
    try:
        return RaggedDecoder(model, rows, max_len, scratch)
    except CannotDecode as error:
        warnings.warn(f"Decoding without a cache, which is slow: {error}", stacklevel=2)
        return FullForwardDecoder(model, rows, max_len, scratch)


def usable_length(model: PreTrainedModel) -> int:
    """Returns the longest context that a model can read, in tokens.

    Where the RoPE frequencies follow the length it is the length up to which they stay as they are.
    """
    text = model.config.get_text_config()
    length = getattr(text, "max_position_embeddings", None) or 2**15
    rope = getattr(text, "rope_parameters", None) or {}
    return (
        min(length, rope.get("original_max_position_embeddings") or length)
        if _rope_follows_length(model)
        else length
    )


def _too_long(length: int, most: int) -> ValueError:
    return ValueError(
        f"Expected a context of at most {most} tokens, got {length}: shorten the dialogue."
    )


def _rope_follows_length(model: PreTrainedModel) -> bool:
    rope = str(getattr(model.config.get_text_config(), "rope_parameters", None) or "")
    return "'dynamic'" in rope or "'longrope'" in rope


def _refusal(model: PreTrainedModel, max_len: int) -> str:
    """Why the model cannot be decoded with ragged rows, as far as its configuration says; else ""."""
    text = model.config.get_text_config()
    rope = getattr(text, "rope_parameters", None) or {}
    trained = min(
        getattr(text, "max_position_embeddings", None) or max_len,
        rope.get("original_max_position_embeddings") or max_len,
    )
    if max_len > trained and _rope_follows_length(model):
        return f"RoPE that follows the longest row beyond {trained} tokens (asked for {max_len})"
    if getattr(text, "alibi", False) or text.model_type in ("bloom", "mpt"):
        return "ALiBi, whose biases do not go through the attention interface"
    return ""


def _check_against_full_forward(decoder: RaggedDecoder, length: int) -> None:
    """Plays two rows of different lengths, extends both, and compares with the model's own forward."""
    model = decoder.model
    text = model.config.get_text_config()
    tokens = np.random.default_rng(0).integers(0, text.vocab_size, (2, length))
    tokens[tokens == text.pad_token_id] = 0 if text.pad_token_id else text.vocab_size - 1
    slots, ends = np.arange(2), np.array([length, max(1, length // 2)])
    start = np.maximum(ends - 2, 0)
    worst, training = 0.0, model.training
    model.eval()
    try:
        for begin, end in ((np.zeros_like(start), start), (start, ends)):
            if (end > begin).all():
                new = np.concatenate([tokens[i, begin[i] : end[i]] for i in slots])
                got = decoder._run(slots, begin, end - begin, new)[0]
        for row, end in enumerate(ends):
            ids = torch.from_numpy(tokens[row : row + 1, :end]).to(model.device)
            with torch.no_grad():
                want = model(input_ids=ids, use_cache=False).logits[0, -1]
            off = got[row].float().log_softmax(-1) - want.float().log_softmax(-1)
            worst = max(worst, float(off.abs().max()))
    except _PROBE_ERRORS as error:
        reason = str(error).split("\n")[0][:200]
        raise CannotDecode(
            f"Expected a model that fits the ragged cache, got {reason}: use FullForwardDecoder."
        ) from error
    finally:
        model.train(training)
    allowed = _TOLERANCE.get(got.dtype, 0.25)
    if not worst <= allowed:
        raise CannotDecode(
            f"Expected the full forward's log-probabilities within {allowed}, got {worst:.1e} away: "
            "use FullForwardDecoder."
        )
