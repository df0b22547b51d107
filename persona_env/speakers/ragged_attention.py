"""Attention over rows of different lengths: one forward serves all rows' new tokens, laid end to end.

Three public extension points of transformers make that exact for any decoder that uses them:

- `SlotLayer` (a cache layer) writes each new token at its row's slot and position;
- `ragged_mask` (an `AttentionMaskInterface` function) evaluates the model's own rule (causal, sliding
  window, chunked) at the pairs of position and slot column that are needed;
- `ragged_attention` (an `AttentionInterface` function) makes two batched calls a layer: every row's last
  token, and the earlier tokens of the rows that got several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.cache_utils import CacheLayerMixin
from transformers.masking_utils import causal_mask_function

__all__ = ["NAME", "RaggedPlan", "SlotLayer", "planned", "ragged_attention", "ragged_mask"]

NAME = "persona_env_ragged"
"""The attention implementation under which both functions are registered."""

planned: ContextVar[RaggedPlan] = ContextVar("persona_env_ragged_plan")
"""The plan of the forward in progress."""

_WIDEST_SPAN = 3
_SMALL = 16


@dataclass(slots=True)
class _Early:
    """The tokens before the last one, in M rows that got about equally many; C is the most of them.

    Attributes:
        slots: (M,) the rows' slots.
        at: (M, C) positions, those of the padding included.
        gather: (M * C,) index among the new tokens; padding repeats a row's first.
        real: (E,) which of the M * C are not padding; None where all are.
        target: (E,) index among the new tokens of those.
        width: The longest context that one of them sees.
    """

    slots: Tensor
    at: Tensor
    gather: Tensor
    real: Tensor | None
    target: Tensor
    width: int


@dataclass(slots=True)
class RaggedPlan:
    """Where the N new tokens of one forward go; R rows are extended.

    Attributes:
        slot: (N,) the slot of each token.
        at: (N,) its position there.
        last: (R,) index among the N of each row's last token; None where each row gets one token.
        low: First slot of the span that the last tokens attend over.
        high: Slot after its end.
        chosen: (R,) places of the rows in the span, None where they fill it; slots where `gathered`.
        gathered: The rows lie too far apart: their slots are copied together instead.
        seen: (B,) position of the last token of each slot attended over (0 where the slot idles).
        width: The longest of the R rows.
        final_layer: In this layer nothing reads the earlier tokens' output.
        early: The tokens before the last of rows that got several, in groups of similar counts.
        masks: By identity of a mask that travels through the model: it, and the masks of `early`.
        writes: By number of heads: where in a flat store the N * heads vectors go.
        calls: How many attention calls came through the interface.
    """

    slot: Tensor
    at: Tensor
    last: Tensor | None
    low: int
    high: int
    chosen: Tensor | None
    gathered: bool
    seen: Tensor
    width: int
    final_layer: int
    early: tuple[_Early, ...] = ()
    masks: dict[int, tuple[Tensor, list[Tensor]]] = field(default_factory=dict)
    writes: dict[int, Tensor] = field(default_factory=dict)
    calls: int = 0

    @classmethod
    def lay_out(
        cls,
        slots: NDArray[np.int64],
        start: NDArray[np.int64],
        count: NDArray[np.int64],
        final_layer: int,
        device: torch.device,
    ) -> RaggedPlan:
        """Plans count[i] >= 1 new tokens from position start[i] for slot slots[i]; slots ascend."""
        send = _sender(device)
        total = start + count
        single = int(count.max()) == 1
        ends = np.cumsum(count)
        row = np.arange(len(slots)) if single else np.repeat(np.arange(len(slots)), count)
        at = start if single else start[row] + np.arange(ends[-1]) - (ends - count)[row]
        low, high = int(slots[0]), int(slots[-1]) + 1
        chosen, seen, gathered = None, total - 1, high - low > _WIDEST_SPAN * len(slots)
        if gathered:
            chosen = slots
        elif high - low > len(slots):
            chosen = slots - low
            seen = np.zeros(high - low, np.int64)
            seen[chosen] = total - 1
        return cls(
            slot=send(slots if single else slots[row]),
            at=send(at),
            last=None if single else send(ends - 1),
            low=low,
            high=high,
            chosen=None if chosen is None else send(chosen),
            gathered=gathered,
            seen=send(seen),
            width=int(total.max()),
            final_layer=final_layer,
            early=() if single else tuple(_lay_out_early(slots, start, count, send)),
        )


def _sender(device: torch.device) -> Callable[[NDArray[Any]], Tensor]:
    if device.type == "cpu":
        return torch.from_numpy
    return lambda array: torch.from_numpy(array).to(device)


def _lay_out_early(
    slots: NDArray[np.int64],
    start: NDArray[np.int64],
    count: NDArray[np.int64],
    send: Callable[[NDArray[Any]], Tensor],
) -> Iterator[_Early]:
    first = np.cumsum(count) - count
    for rows in _similar(count):
        column = np.arange(count[rows].max() - 1)
        real = column < count[rows, None] - 1
        gather = first[rows, None] + column * real
        yield _Early(
            slots=send(slots[rows]),
            at=send(start[rows, None] + column * real),
            gather=send(gather.ravel()),
            real=None if real.all() else send(np.flatnonzero(real)),
            target=send(gather[real]),
            width=int((start + count)[rows].max()) - 1,
        )


def _similar(count: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yields the rows that got more than one token, in groups none of which is mostly padding."""
    left = np.flatnonzero(count > 1)
    while len(left):
        most = int(count[left].max())
        near = (2 * count[left] > most) if most > _SMALL else np.ones(len(left), bool)
        yield left[near]
        left = left[~near]


class SlotLayer(CacheLayerMixin):
    """One layer's keys and values, (slots, heads, capacity, dim) each; the capacity follows the use."""

    keys: Tensor
    values: Tensor

    def __init__(self, slots: int, max_len: int):
        super().__init__()
        self.slots, self.max_len = slots, max_len

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Takes heads, dim, dtype and device from what the model brings; shape (1, heads, N, dim)."""
        self.keys, self.values = (
            states.new_zeros(self.slots, states.shape[1], 0, states.shape[3])
            for states in (key_states, value_states)
        )
        self.is_initialized = True

    def reserve(self, width: int) -> None:
        """Makes room for positions below `width`, at least doubling what there is."""
        capacity = self.keys.shape[2]
        if width > capacity:
            more = min(max(width, 2 * capacity, 64), self.max_len) - capacity
            self.keys, self.values = (
                torch.nn.functional.pad(store, (0, 0, 0, more))
                for store in (self.keys, self.values)
            )

    def add_slots(self, more: int) -> None:
        """Adds slots at the end."""
        self.slots += more
        if self.is_initialized:
            self.keys, self.values = (
                torch.nn.functional.pad(store, (0, 0, 0, 0, 0, 0, 0, more))
                for store in (self.keys, self.values)
            )

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Writes (1, heads, N, dim) where the plan says and returns the whole stores."""
        plan = planned.get()
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self.reserve(plan.width)
        for store, new in ((self.keys, key_states), (self.values, value_states)):
            _, heads, capacity, dim = store.shape
            place = plan.writes.get(heads)
            if place is None:
                head = torch.arange(heads, device=store.device)[:, None]
                place = ((plan.slot * heads + head) * capacity + plan.at).flatten()
                plan.writes[heads] = place
            store.view(-1, dim).index_copy_(0, place, new.reshape(-1, dim))
        return self.keys, self.values

    def copy(self, sources: Tensor, first: int, length: int) -> None:
        """Copies the first `length` positions of some slots to the slots from `first` on."""
        if self.is_initialized:
            for store in (self.keys, self.values):
                store[first : first + len(sources), :, :length] = store[sources, :, :length]

    # transformers' mask code asks for these; ragged_mask has no use for the answers.
    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Returns (query_length, 0)."""
        return query_length, 0

    def get_seq_length(self) -> int:
        """Returns 0: positions are always given."""
        return 0

    def get_max_length(self) -> int:
        """Returns the most positions that a slot can have."""
        return self.max_len


def ragged_mask(
    *,
    mask_function: Callable[..., Tensor],
    dtype: torch.dtype,
    device: torch.device,
    **kwargs: Any,
) -> Tensor:
    """Makes the additive masks of one layer type and returns the one of the last tokens.

    Returns:
        (B, 1, 1, width); `ragged_attention` knows the pair by the identity of this tensor.
    """
    plan = planned.get()
    column = torch.arange(plan.width, device=device)
    zero, barred = torch.zeros((), dtype=dtype, device=device), float("-inf")

    def additive(at: Tensor, width: int) -> Tensor:
        if mask_function is causal_mask_function:
            return torch.where(column[:width] <= at[..., None], zero, barred)
        return torch.where(mask_function(zero, zero, at[..., None], column[:width]), zero, barred)

    single = additive(plan.seen, plan.width)[:, None, None]
    plan.masks[id(single)] = single, [additive(rows.at, rows.width)[:, None] for rows in plan.early]
    return single


def ragged_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    scaling: float | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attends each new token to its own row.

    Args:
        module: The attention layer.
        query: (1, heads, N, dim).
        key: The whole store that `SlotLayer.update` returned; `value` likewise.
        value: See `key`.
        attention_mask: What `ragged_mask` returned.
        scaling: Factor of the scores; dim ** -0.5 if None.
        softcap: Scores are squashed to (-softcap, softcap) with tanh (Gemma 2).
        s_aux: (heads,) attention sinks (GPT-OSS).
        **kwargs: What else the model passes on; unused.

    Returns:
        ((1, N, heads, dim), None).
    """
    plan = planned.get()
    plan.calls += 1
    single, early = plan.masks[id(attention_mask)]
    options = (scaling, softcap, s_aux)
    tokens = query[0].transpose(0, 1)
    if plan.last is None:
        return _attend_last(plan, tokens, key, value, single, options)[None], None
    last = _attend_last(plan, tokens.index_select(0, plan.last), key, value, single, options)
    out = last.new_zeros(len(tokens), *last.shape[1:]).index_copy_(0, plan.last, last)
    if getattr(module, "layer_idx", None) != plan.final_layer:
        for rows, mask in zip(plan.early, early, strict=True):
            k, v = (x[:, :, : rows.width].index_select(0, rows.slots) for x in (key, value))
            q = tokens.index_select(0, rows.gather).view(*rows.at.shape, *tokens.shape[1:])
            found = _attend(q, k, v, mask, options).flatten(0, 1)
            found = found if rows.real is None else found.index_select(0, rows.real)
            out.index_copy_(0, rows.target, found)
    return out[None], None


_Options = tuple[float | None, float | None, Tensor | None]


def _attend_last(
    plan: RaggedPlan, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, options: _Options
) -> Tensor:
    """Attends one token a row, query (R, heads, dim); idle slots inside the span go along unread."""
    query = query[:, None]
    if plan.gathered and plan.chosen is not None:
        k, v = (x[:, :, : plan.width].index_select(0, plan.chosen) for x in (key, value))
        return _attend(query, k, v, mask, options)[:, 0]
    k, v = (x[plan.low : plan.high, :, : plan.width] for x in (key, value))
    if plan.chosen is None:
        return _attend(query, k, v, mask, options)[:, 0]
    span = query.new_zeros(len(k), *query.shape[1:]).index_copy_(0, plan.chosen, query)
    return _attend(span, k, v, mask, options)[:, 0].index_select(0, plan.chosen)


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, options: _Options) -> Tensor:
    """Plain attention: q (B, T, heads, dim), k and v (B, key heads, L, dim), mask (B, 1, T, L).

    The query heads of a group are folded into T, so that keys are never repeated.
    """
    scaling, softcap, sinks = options
    (batch, steps, heads, dim), group = q.shape, q.shape[2] // k.shape[1]
    q = q.unflatten(2, (-1, group)).permute(0, 2, 3, 1, 4).reshape(batch, -1, group * steps, dim)
    if mask is not None and group > 1 and steps > 1:
        mask = mask[:, :, None].expand(-1, -1, group, -1, -1).flatten(2, 3)
    if softcap is None and sinks is None:
        out = torch.nn.functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, scale=scaling
        )
    else:
        out = _capped(q, k, v, mask, (dim**-0.5 if scaling is None else scaling, softcap, sinks))
    if steps == 1:
        return out.reshape(batch, 1, heads, -1)
    return out.reshape(batch, -1, group, steps, v.shape[-1]).permute(0, 3, 1, 2, 4).flatten(2, 3)


def _capped(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    options: tuple[float, float | None, Tensor | None],
) -> Tensor:
    """Attention with a soft cap or sinks, which torch's kernel has not."""
    scaling, softcap, sinks = options
    scores = (q @ k.transpose(-1, -2)) * scaling
    scores = scores if softcap is None else torch.tanh(scores / softcap) * softcap
    scores = scores if mask is None else scores + mask
    if sinks is not None:
        group = sinks.numel() // k.shape[1]
        sink = sinks.view(1, -1, group, 1).expand(len(q), -1, -1, q.shape[2] // group)
        scores = torch.cat([scores, sink.reshape(*scores.shape[:3], 1)], -1)
    return scores.float().softmax(-1).to(q.dtype)[..., : k.shape[2]] @ v


AttentionInterface.register(NAME, ragged_attention)
AttentionMaskInterface.register(NAME, ragged_mask)
