"""Shared-prefix attention: several continuations of one prefix packed into one row.

A dialogue with probes is such a row: the prefix is run once, and no continuation attends to another. The model's own
rule is evaluated at the positions that tokens have in their own texts, as in `ragged_attention`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from persona_env.speakers.decoding.decoder import distance, tolerance
from persona_env.speakers.decoding.kv_cache import NOT_FOLLOWED, sharpens_from
from persona_env.speakers.decoding.ragged_attention import attend, switched

__all__ = ["NAME", "branch_attention", "branch_mask", "shared_prefixes", "shares_prefixes"]

NAME = "persona_env_branches"  # the attention implementation under which both functions are registered
_branches: ContextVar[Tensor] = ContextVar("persona_env_branches")  # of the forward in progress


@torch.no_grad()
def shares_prefixes(model: PreTrainedModel) -> bool:
    """Returns whether texts can share rows of the model: two in one row are compared with the same two alone."""
    if sharpens_from(model) < math.inf:  # two short texts would not show it
        return False
    text = model.config.get_text_config()
    first, fork = torch.arange(1, 9, device=model.device) % text.vocab_size, 5
    second = torch.cat([first[:fork], first.flip(0)[:4]])
    columns = [(position, 0, 0) for position in range(len(first))]
    columns += [(position, 1, fork) for position in range(fork, len(second))]
    branches = torch.tensor(columns, device=model.device).T[:, None]
    try:
        with shared_prefixes(model, branches) as inputs:
            row = torch.cat([first, second[fork:]])[None]
            got = model(input_ids=row, use_cache=False, **inputs).logits[0]
        alone = [model(input_ids=ids[None], use_cache=False).logits[0] for ids in (first, second)]
    except NOT_FOLLOWED:
        return False
    want = torch.cat([alone[0], alone[1][fork:]])
    return distance(got, want) <= tolerance(want.dtype)


@contextlib.contextmanager
def shared_prefixes(model: PreTrainedModel, branches: Tensor | None) -> Iterator[dict[str, Tensor]]:
    """Switches a model that `shares_prefixes` to shared-prefix attention; yields further inputs of its forward.

    The branches are (3, S, L) int64, for each token: its position in its own text; the number of its branch (0 for the
    text that the row begins with, -1 for padding); and the number of tokens that its own text shares with the first
    (in branch 0: any). None: each row is one text.
    """
    if branches is None:
        yield {}
        return
    with switched(model, NAME, _branches, branches):
        # Without a mask transformers would take positions that jump for texts packed end to end.
        yield {"position_ids": branches[0], "attention_mask": torch.ones_like(branches[0])}


def branch_mask(*, mask_function: Callable[..., Tensor], dtype: torch.dtype, **kwargs: Any) -> Tensor:
    """Returns the additive mask of one layer type, (S, 1, L, L)."""
    position, branch, fork = _branches.get()
    at, to = position[:, :, None], position[:, None]
    own = branch[:, :, None] == branch[:, None]
    shared = (branch[:, None] == 0) & (to < fork[:, :, None])
    none = torch.zeros((), dtype=torch.long, device=position.device)
    seen = (own | shared) & mask_function(none, none, at, to)
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, float("-inf"))[:, None]


def branch_attention(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor, **options: Any
) -> tuple[Tensor, None]:
    """Returns ((S, L, heads, dim), None): each token attends to its own text.

    The query is (S, heads, L, dim), key and value are (S, key heads, L, dim), and the mask is `branch_mask`'s; see
    `attend` for the options.
    """
    if options.get("softcap") is None and options.get("s_aux") is None:
        scaling = options.get("scaling")
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, is_causal=False)
    return attend(query.transpose(1, 2), key, value, attention_mask, **options), None


AttentionInterface.register(NAME, branch_attention)
AttentionMaskInterface.register(NAME, branch_mask)
