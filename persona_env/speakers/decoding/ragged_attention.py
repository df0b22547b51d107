"""Attention over rows of different lengths: all rows' new tokens, end to end, in one forward.

Three public extension points of transformers make that exact for any decoder that uses them:

- `SlotLayer` (a cache layer) writes each new token to its row's slot, at its position;
- `ragged_mask` (an `AttentionMaskInterface` function) evaluates the model's own rule (causal,
  sliding window, chunked) at the pairs of position and slot column that are needed;
- `ragged_attention` (an `AttentionInterface` function) makes two batched calls per layer: one for every row's
  last token, one for the earlier tokens of the rows that got several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.cache_utils import CacheLayerMixin
from transformers.masking_utils import causal_mask_function

__all__ = ["NAME", "RaggedPlan", "SlotLayer", "attend", "planned", "ragged_attention", "ragged_mask"]

NAME = "persona_env_ragged"
"""The attention implementation under which both functions are registered."""

planned: ContextVar[RaggedPlan] = ContextVar("persona_env_ragged_plan")
"""The plan of the forward in progress."""

_Ints: TypeAlias = NDArray[np.int64]
_Options: TypeAlias = tuple[float | None, float | None, Tensor | None]

_WIDEST_SPAN = 3  # beyond this many slots a row, copying the rows is cheaper than reading past them
_SMALL = 16  # up to this many tokens a row, padding is cheaper than another call
_FIRST_CAPACITY = 64


@dataclass(slots=True)
class _Last:
    """Each row's last new token; R rows attend over B slots.

    Attributes:
        index: (R,) which of the N new tokens; None where each row got just one.
        low: First slot of the span attended over.
        high: Slot after its end.
        chosen: (R,) the rows' indices in the span, or their slots where `gathered`; None where the
            rows are the span.
        gathered: The rows are too far apart: their slots are copied together.
        seen: (B,) the last position that each slot attends to; 0 in unused slots.
        width: The longest context.
    """

    index: Tensor | None
    low: int
    high: int
    chosen: Tensor | None
    gathered: bool
    seen: Tensor
    width: int


@dataclass(slots=True)
class _Early:
    """The new tokens before the last, of M rows that got about equally many (C at most).

    Attributes:
        slots: (M,) the rows' slots.
        at: (M, C) positions; padding repeats the first.
        gather: (M * C,) which of the new tokens; padding repeats the first.
        real: (E,) which of the M * C are not padding; None where all are.
        target: (E,) the indices of those among the new tokens.
        width: The longest context.
    """

    slots: Tensor
    at: Tensor
    gather: Tensor
    real: Tensor | None
    target: Tensor
    width: int


@dataclass(slots=True)
class RaggedPlan:
    """The slots and positions of the N new tokens of one forward.

    Attributes:
        slot: (N,) the slot of each token.
        at: (N,) its position there.
        last: The rows' last tokens.
        early: The tokens before them.
        layers: The number of layers; the outputs of the last one at early tokens are not used.
        masks: By identity of a mask that the model passes on: it, and those of `early`.
        writes: By number of heads: the indices of the vectors in a flat store, (heads * N,).
        calls: The number of attention calls so far.
    """

    slot: Tensor
    at: Tensor
    last: _Last
    early: tuple[_Early, ...]
    layers: int
    masks: dict[int, tuple[Tensor, list[Tensor]]] = field(default_factory=dict)
    writes: dict[int, Tensor] = field(default_factory=dict)
    calls: int = 0

    @classmethod
    def lay_out(cls, slots: _Ints, start: _Ints, count: _Ints, *, layers: int, device: torch.device) -> RaggedPlan:
        """Plans count[i] >= 1 new tokens for slot slots[i] from position start[i] on."""
        send = _sender(device)
        total = start + count
        if int(count.max()) == 1:
            last = _lay_out_last(slots, total, None, send)
            return cls(send(slots), send(start), last, (), layers)
        ends = np.cumsum(count)
        row = np.repeat(np.arange(len(slots)), count)
        at = (start - ends + count)[row] + np.arange(ends[-1])
        last = _lay_out_last(slots, total, send(ends - 1), send)
        early = tuple(_lay_out_early(slots, start, count, send))
        return cls(send(slots[row]), send(at), last, early, layers)

    def targets(self, heads: int, capacity: int) -> Tensor:
        """The indices of the new vectors in a flat store of (slots * heads * capacity, dim)."""
        found = self.writes.get(heads)
        if found is None:
            head = torch.arange(heads, device=self.slot.device)[:, None]
            found = ((self.slot * heads + head) * capacity + self.at).flatten()
            self.writes[heads] = found
        return found


def _sender(device: torch.device) -> Callable[[_Ints], Tensor]:
    if device.type == "cpu":
        return torch.from_numpy
    return lambda array: torch.from_numpy(array).to(device)


def _lay_out_last(slots: _Ints, total: _Ints, index: Tensor | None, send: Callable[[_Ints], Tensor]) -> _Last:
    low, high = int(slots.min()), int(slots.max()) + 1
    seen, width = total - 1, int(total.max())
    if high - low > _WIDEST_SPAN * len(slots):
        return _Last(index, low, high, send(slots), True, send(seen), width)
    if high - low == len(slots) and (len(slots) == 1 or (np.diff(slots) == 1).all()):
        return _Last(index, low, high, None, False, send(seen), width)
    spread = np.zeros(high - low, np.int64)
    spread[slots - low] = seen
    return _Last(index, low, high, send(slots - low), False, send(spread), width)


def _lay_out_early(slots: _Ints, start: _Ints, count: _Ints, send: Callable[[_Ints], Tensor]) -> Iterator[_Early]:
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


def _similar(count: _Ints) -> Iterator[_Ints]:
    """Yields the rows that got several tokens, grouped so that no group is mostly padding."""
    left = np.flatnonzero(count > 1)
    while len(left):
        most = int(count[left].max())
        near = (2 * count[left] > most) if most > _SMALL else np.ones(len(left), bool)
        yield left[near]
        left = left[~near]


class SlotLayer(CacheLayerMixin):
    """One layer's keys and values, each (slots, heads, capacity, dim); the capacity grows with use."""

    def __init__(self, slots: int, max_len: int):
        super().__init__()
        self.slots, self.max_len = slots, max_len
        self._stores: tuple[Tensor, Tensor] | None = None

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Takes heads, dim, dtype and device from the first states, (1, heads, N, dim)."""
        self._initialized(key_states, value_states)

    def _initialized(self, *states: Tensor) -> tuple[Tensor, Tensor]:
        if self._stores is None:
            keys, values = (x.new_zeros(self.slots, x.shape[1], 0, x.shape[3]) for x in states)
            self._stores, self.is_initialized = (keys, values), True
        return self._stores

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Writes (1, heads, N, dim) to the plan's targets and returns the whole stores."""
        plan = planned.get()
        stores = self._reserve(self._initialized(key_states, value_states), plan.last.width)
        for store, new in zip(stores, (key_states, value_states), strict=True):
            _, heads, capacity, dim = store.shape
            store.view(-1, dim).index_copy_(0, plan.targets(heads, capacity), new.reshape(-1, dim))
        return stores

    def _reserve(self, stores: tuple[Tensor, Tensor], width: int) -> tuple[Tensor, Tensor]:
        """Makes room for positions below `width`, at least doubling the capacity."""
        capacity = stores[0].shape[2]
        if width > capacity:
            more = min(max(width, 2 * capacity, _FIRST_CAPACITY), self.max_len) - capacity
            self._stores = stores = _padded(stores, (0, 0, 0, more))
        return stores

    def get_max_cache_shape(self) -> int:
        """Returns -1: the capacity follows use (older versions of transformers ask)."""
        return -1

    def add_slots(self, more: int) -> None:
        """Adds empty slots at the end."""
        self.slots += more
        if self._stores is not None:
            self._stores = _padded(self._stores, (0, 0, 0, 0, 0, 0, 0, more))

    def reset(self) -> None:
        """Zeroes everything: a nan behind the mask would still spread (0 * nan)."""
        for store in self._stores or ():
            store.zero_()

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Returns (query_length, 0); `ragged_mask` does not use it."""
        return query_length, 0

    def get_seq_length(self) -> int:
        """Returns 0: positions are always given."""
        return 0

    def get_max_length(self) -> int:
        """Returns the most positions of a slot."""
        return self.max_len


def _padded(stores: tuple[Tensor, Tensor], by: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    keys, values = (torch.nn.functional.pad(store, by) for store in stores)
    return keys, values


def ragged_mask(
    *,
    mask_function: Callable[..., Tensor],
    dtype: torch.dtype,
    device: torch.device,
    **kwargs: Any,
) -> Tensor:
    """Makes the additive masks of one layer type and returns the one of the last tokens.

    Returns:
        (B, 1, 1, width). `ragged_attention` finds the other masks by the identity of this tensor.
    """
    plan = planned.get()
    column = torch.arange(plan.last.width, device=device)
    zero = torch.zeros((), dtype=dtype, device=device)

    def additive(at: Tensor, width: int) -> Tensor:
        at, to = at[..., None], column[:width]
        if mask_function is causal_mask_function:
            return torch.where(to <= at, zero, float("-inf"))
        return torch.where(mask_function(column[0], column[0], at, to), zero, float("-inf"))

    mask = additive(plan.last.seen, plan.last.width)[:, None, None]
    early = [additive(rows.at, rows.width)[:, None] for rows in plan.early]
    plan.masks[id(mask)] = mask, early
    return mask


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
        key: The whole store that `SlotLayer.update` returned.
        value: Likewise.
        attention_mask: What `ragged_mask` returned.
        scaling: Factor of the scores; dim ** -0.5 if None.
        softcap: Scores are squashed to (-softcap, softcap) with tanh, as in Gemma 2.
        s_aux: (heads,) attention sinks, as in GPT-OSS.
        **kwargs: Unused.

    Returns:
        ((1, N, heads, dim), None).
    """
    plan, options = planned.get(), (scaling, softcap, s_aux)
    plan.calls += 1
    mask, early_masks = plan.masks[id(attention_mask)]
    tokens = query[0].transpose(0, 1)
    if plan.last.index is None:
        return _attend_last(plan.last, tokens, key, value, mask, options)[None], None
    chosen = tokens.index_select(0, plan.last.index)
    found = _attend_last(plan.last, chosen, key, value, mask, options)
    out = found.new_zeros(len(tokens), *found.shape[1:]).index_copy_(0, plan.last.index, found)
    if plan.calls < plan.layers:
        for rows, early_mask in zip(plan.early, early_masks, strict=True):
            found = _attend_early(rows, tokens, key, value, early_mask, options)
            out.index_copy_(0, rows.target, found)
    return out[None], None


def _attend_last(rows: _Last, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, options: _Options) -> Tensor:
    """Attends one token per row, query (R, heads, dim); the results of unused slots in the span are dropped."""
    query = query[:, None]
    if rows.gathered and rows.chosen is not None:
        k, v = (x[:, :, : rows.width].index_select(0, rows.chosen) for x in (key, value))
        return attend(query, k, v, mask, options)[:, 0]
    k, v = (x[rows.low : rows.high, :, : rows.width] for x in (key, value))
    if rows.chosen is None:
        return attend(query, k, v, mask, options)[:, 0]
    span = query.new_zeros(len(k), *query.shape[1:]).index_copy_(0, rows.chosen, query)
    return attend(span, k, v, mask, options)[:, 0].index_select(0, rows.chosen)


def _attend_early(rows: _Early, tokens: Tensor, key: Tensor, value: Tensor, mask: Tensor, options: _Options) -> Tensor:
    """Attends the early tokens of some rows, (E, heads, dim); tokens are (N, heads, dim)."""
    k, v = (x[:, :, : rows.width].index_select(0, rows.slots) for x in (key, value))
    query = tokens.index_select(0, rows.gather).view(*rows.at.shape, *tokens.shape[1:])
    found = attend(query, k, v, mask, options).flatten(0, 1)
    return found if rows.real is None else found.index_select(0, rows.real)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, options: _Options) -> Tensor:
    """Plain attention: q (B, T, heads, dim), k and v (B, key heads, L, dim), mask (B, 1, T, L).

    The query heads of a group are folded into T, so that keys are never repeated.
    """
    scaling, softcap, sinks = options
    (batch, steps, heads, dim), group = q.shape, q.shape[2] // k.shape[1]
    q = q.unflatten(2, (-1, group)).permute(0, 2, 3, 1, 4).reshape(batch, -1, group * steps, dim)
    if group > 1 and steps > 1:
        mask = mask[:, :, None].expand(-1, -1, group, -1, -1).flatten(2, 3)
    mask = mask.to(q.dtype)
    # torch's kernel is made for many queries per row
    is_slow = steps == 1 and q.device.type == "cpu" and q.dtype == torch.float32
    if is_slow or softcap is not None or sinks is not None:
        out = _attend_by_hand(q, k, v, mask, (scaling or dim**-0.5, softcap, sinks))
    else:
        sdpa = torch.nn.functional.scaled_dot_product_attention
        out = sdpa(q, k, v, attn_mask=mask, scale=scaling)
    if steps == 1:
        return out.reshape(batch, 1, heads, -1)
    return out.unflatten(2, (group, steps)).permute(0, 3, 1, 2, 4).flatten(2, 3)


def _attend_by_hand(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor, options: tuple[float, float | None, Tensor | None]
) -> Tensor:
    """Attention in its three steps, with a soft cap and sinks, which torch's kernel does not have."""
    scaling, softcap, sinks = options
    scores = (q * scaling) @ k.transpose(-1, -2)
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    scores = scores + mask
    if sinks is not None:
        group = sinks.numel() // k.shape[1]
        sink = sinks.view(1, -1, group, 1).expand(len(q), -1, -1, q.shape[2] // group)
        scores = torch.cat([scores, sink.reshape(*scores.shape[:3], 1)], -1)
    weights = scores.softmax(-1, dtype=torch.promote_types(q.dtype, torch.float32))
    return weights.to(q.dtype)[..., : k.shape[2]] @ v


AttentionInterface.register(NAME, ragged_attention)
AttentionMaskInterface.register(NAME, ragged_mask)
