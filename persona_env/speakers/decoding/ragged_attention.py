"""Attention over rows of different lengths: all rows' new tokens, end to end, in one forward.

Three public extension points of transformers make that exact for any decoder that uses them: a cache layer, a mask
function, which evaluates the model's own rule (causal, sliding window, chunked), and an attention function.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.cache_utils import CacheLayerMixin
from transformers.masking_utils import causal_mask_function

from persona_env.speakers.decoding.decoder import Ints

__all__ = ["NAME", "RaggedPlan", "SlotLayer", "attend", "planned", "ragged_attention", "ragged_mask", "switched"]

NAME = "persona_env_ragged"  # the attention implementation under which both functions are registered
planned: ContextVar[RaggedPlan] = ContextVar("persona_env_ragged_plan")  # of the forward in progress

_Read = TypeVar("_Read")

_WIDEST_SPAN = 3  # beyond this many slots a row, copying the rows is cheaper than reading past them
_SMALL = 16  # up to this many tokens a row, padding is cheaper than another call
_FIRST_CAPACITY = 64


@dataclass(slots=True)
class _Part:
    """Some of the N new tokens, attended in one call: C of each of B slots, padding included."""

    slots: slice | Tensor  # a span of slots, read in place, or (B,), which are copied together
    at: Tensor  # (B, C) the positions of the tokens
    gather: Tensor | None  # (B * C,) which of the new tokens; None: all of them
    real: Tensor | None  # (E,) which of the B * C are not padding; None: all of them
    target: Any  # (E,) the indices of those among the new tokens; None: all of them
    width: int  # the longest context


@dataclass(slots=True)
class RaggedPlan:
    """The slots and positions of the N new tokens of one forward."""

    slot: Tensor  # (N,) the slot of each token
    at: Tensor  # (N,) its position there
    parts: list[_Part]  # first the rows' last tokens, then those before them
    layers: int  # in the last one only the outputs at last tokens are used
    masks: dict[int, list[Tensor]] = field(
        default_factory=dict
    )  # of `parts`, by identity of the model's mask, the first
    # By heads and capacity, which layers may have different ones of: indices in a flat store, (heads * N,)
    writes: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    calls: int = 0  # of attention, so far

    @classmethod
    def lay_out(cls, slots: Ints, start: Ints, count: Ints, *, layers: int, device: torch.device) -> RaggedPlan:
        """Plans count[i] >= 1 new tokens for slot slots[i] from position start[i] on."""

        def send(array: Ints) -> Tensor:
            return torch.from_numpy(array).to(device)

        if int(count.max()) == 1:
            return cls(send(slots), send(start), [_last_tokens(slots, start, None, send)], layers)
        ends = np.cumsum(count)
        row = np.repeat(np.arange(len(slots)), count)
        at = (start - ends + count)[row] + np.arange(ends[-1])
        parts = [_last_tokens(slots, start + count - 1, ends - 1, send), *_early_tokens(slots, start, count, send)]
        return cls(send(slots[row]), send(at), parts, layers)

    def targets(self, heads: int, capacity: int) -> Tensor:
        """The indices of the new vectors in a flat store of (slots * heads * capacity, dim)."""
        if (heads, capacity) not in self.writes:
            head = torch.arange(heads, device=self.slot.device)[:, None]
            self.writes[heads, capacity] = ((self.slot * heads + head) * capacity + self.at).flatten()
        return self.writes[heads, capacity]


def _last_tokens(slots: Ints, at: Ints, index: Ints | None, send: Callable[[Ints], Tensor]) -> _Part:
    """Each row's last token at position `at`; `index` is None where there are no others."""
    low, high, width = int(slots.min()), int(slots.max()) + 1, int(at.max()) + 1
    target, are_neighbours = None if index is None else send(index), bool((np.diff(slots) == 1).all())
    if are_neighbours or high - low > _WIDEST_SPAN * len(slots):
        found = slice(low, high) if are_neighbours else send(slots)
        return _Part(found, send(at)[:, None], target, None, target, width)
    spread, gather = np.zeros((2, high - low), np.int64)
    spread[slots - low] = at
    gather[slots - low] = np.arange(len(slots)) if index is None else index
    return _Part(slice(low, high), send(spread)[:, None], send(gather), send(slots - low), target, width)


def _early_tokens(slots: Ints, start: Ints, count: Ints, send: Callable[[Ints], Tensor]) -> Iterator[_Part]:
    """The tokens before the last, in parts that are not mostly padding; padding repeats a row's first token."""
    first, left = np.cumsum(count) - count, np.flatnonzero(count > 1)
    while len(left):
        most = int(count[left].max())
        near = (2 * count[left] > most) | (most <= _SMALL)
        rows, left = left[near], left[~near]
        column = np.arange(most - 1)
        real = column < count[rows, None] - 1
        gather = first[rows, None] + column * real
        yield _Part(
            slots=send(slots[rows]),
            at=send(start[rows, None] + column * real),
            gather=send(gather.ravel()),
            real=send(np.flatnonzero(real)),
            target=send(gather[real]),
            width=int((start + count)[rows].max()) - 1,
        )


class SlotLayer(CacheLayerMixin):
    """One layer's keys and values, each (slots, heads, capacity, dim); the capacity grows with use."""

    keys: Any
    values: Any

    def __init__(self, slots: int, max_len: int):
        super().__init__()
        self.slots, self.max_len = slots, max_len

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Takes heads, dim, dtype and device from the first states, (1, heads, N, dim)."""
        states = (key_states, value_states)
        self.keys, self.values = (x.new_zeros(self.slots, x.shape[1], 0, x.shape[3]) for x in states)
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Writes (1, heads, N, dim) to the plan's targets and returns the whole stores, at least doubled when full."""
        plan = planned.get()
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        capacity, width = self.keys.shape[2], plan.parts[0].width
        if width > capacity:
            more = min(max(width, 2 * capacity, _FIRST_CAPACITY), self.max_len) - capacity
            self.keys, self.values = (torch.nn.functional.pad(x, (0, 0, 0, more)) for x in (self.keys, self.values))
        for store, new in ((self.keys, key_states), (self.values, value_states)):
            _, heads, capacity, dim = store.shape
            store.view(-1, dim).index_copy_(0, plan.targets(heads, capacity), new.reshape(-1, dim))
        return self.keys, self.values

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Returns (query_length, 0); `ragged_mask` does not use it."""
        return query_length, 0

    def get_seq_length(self) -> int:
        """Returns 0: positions are always given."""
        return 0

    def get_max_length(self) -> int:
        """Returns the most positions of a slot."""
        return self.max_len

    get_max_cache_shape = get_max_length  # its name in older versions of transformers


@contextlib.contextmanager
def switched(model: PreTrainedModel, name: str, variable: ContextVar[_Read], value: _Read) -> Iterator[None]:
    """Switches the model to a registered attention implementation, which reads the value from the variable."""
    config: Any = model.config
    found, token = config._attn_implementation, variable.set(value)
    try:
        config._attn_implementation = name
        yield
    finally:
        config._attn_implementation = found
        variable.reset(token)


def ragged_mask(
    *, mask_function: Callable[..., Tensor], dtype: torch.dtype, device: torch.device, **kwargs: Any
) -> Tensor:
    """Makes the masks of one layer type, (B, 1, C, width); returns the last tokens', which identifies the others."""
    plan = planned.get()
    column = torch.arange(plan.parts[0].width, device=device)
    zero = torch.zeros((), dtype=dtype, device=device)

    def additive(part: _Part) -> Tensor:
        at, to = part.at[..., None], column[: part.width]
        seen = to <= at if mask_function is causal_mask_function else mask_function(column[0], column[0], at, to)
        return torch.where(seen, zero, float("-inf"))[:, None]

    masks = [additive(part) for part in plan.parts]
    plan.masks[id(masks[0])] = masks
    return masks[0]


def ragged_attention(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor, **options: Any
) -> tuple[Tensor, None]:
    """Attends each new token to its own row: query (1, heads, N, dim), whole stores; returns (1, N, heads, dim)."""
    plan = planned.get()
    plan.calls += 1
    masks, tokens = plan.masks[id(attention_mask)], query[0].transpose(0, 1)
    found = _attend_part(plan.parts[0], tokens, key, value, masks[0], options)
    if plan.parts[0].target is None:
        return found[None], None
    out = found.new_zeros(len(tokens), *found.shape[1:]).index_copy_(0, plan.parts[0].target, found)
    if plan.calls < plan.layers:
        for part, mask in zip(plan.parts[1:], masks[1:], strict=True):
            out.index_copy_(0, part.target, _attend_part(part, tokens, key, value, mask, options))
    return out[None], None


def _attend_part(
    part: _Part, tokens: Tensor, key: Tensor, value: Tensor, mask: Tensor, options: Mapping[str, Any]
) -> Tensor:
    """Attends some of the tokens (N, heads, dim), and returns the results that are not padding, (E, heads, dim)."""
    query = tokens if part.gather is None else tokens.index_select(0, part.gather)
    if isinstance(part.slots, slice):
        k, v = key[part.slots, :, : part.width], value[part.slots, :, : part.width]
    else:
        k, v = (store[:, :, : part.width].index_select(0, part.slots) for store in (key, value))
    found = attend(query.view(*part.at.shape, *tokens.shape[1:]), k, v, mask, **options).flatten(0, 1)
    return found if part.real is None else found.index_select(0, part.real)


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor,
    *,
    scaling: float | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **kwargs: Any,
) -> Tensor:
    """Plain attention: q (B, T, heads, dim), k and v (B, key heads, L, dim), mask (B, 1, T, L).

    The query heads of a group are folded into T, so that keys are never repeated. Layers of transformers pass on
    `scaling` of the scores (dim ** -0.5 if None), `softcap` (scores are squashed with tanh, as in Gemma 2) and `s_aux`
    ((heads,) attention sinks, as in GPT-OSS).
    """
    (batch, steps, heads, dim), group = q.shape, q.shape[2] // k.shape[1]
    if steps == 1:
        q = q.reshape(batch, -1, group, dim)
    else:
        q = q.unflatten(2, (-1, group)).permute(0, 2, 3, 1, 4).reshape(batch, -1, group * steps, dim)
        if group > 1:
            mask = mask[:, :, None].expand(-1, -1, group, -1, -1).flatten(2, 3)
    mask = mask.to(q.dtype)
    # torch's kernel is made for many queries per row
    is_slow = steps == 1 and q.device.type == "cpu" and q.dtype == torch.float32
    if is_slow or softcap is not None or s_aux is not None:
        out = _attend_by_hand(q, k, v, mask, scaling or dim**-0.5, softcap, s_aux)
    else:
        out = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scaling)
    if steps == 1:
        return out.reshape(batch, 1, heads, -1)
    return out.unflatten(2, (group, steps)).permute(0, 3, 1, 2, 4).flatten(2, 3)


def _attend_by_hand(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scaling: float, softcap: float | None, sinks: Tensor | None
) -> Tensor:
    """Attention in its three steps, with a soft cap and sinks, which torch's kernel does not have."""
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
