"""One forward pass of a language model that scores many choices at once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["choice_logits", "forbid", "log_probabilities"]


def choice_logits(model: Any, input_ids: Tensor, row: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the next-token logits and the last hidden states at some places of a batch.

    The output layer sees these places only; whatever the model does to its logits after it (a scale, a
    soft cap) is done. The model has no dropout here: it is the caller's part to have it in evaluation mode.

    Args:
        model: A causal language model.
        input_ids: (S, L) int64, padded on the right.
        row: (A,) int64, the row of each place.
        position: (A,) int64, the place in the row.

    Returns:
        Logits (A, V) in float32 and hidden states (A, d) in the model's dtype.
    """
    seen: list[Tensor] = []

    def keep_choices(module: torch.nn.Module, args: tuple[Any, ...]) -> tuple[Tensor]:
        seen.append(args[0][row, position])
        return (seen[0][None],)

    hook = model.get_output_embeddings().register_forward_pre_hook(keep_choices)
    try:
        logits = model(input_ids=input_ids, use_cache=False).logits
    finally:
        hook.remove()
    return logits[0].float(), seen[0]


def forbid(logits: Tensor, forbidden: Tensor) -> Tensor:
    """Returns logits (A, V) in which the forbidden ids cannot be drawn.

    Their logit is the dtype's minimum and not -inf, whose gradient and whose KL are nan.
    """
    return logits.index_fill(-1, forbidden, torch.finfo(logits.dtype).min)


def log_probabilities(logits: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    """Returns log-probabilities of the actions (A,), and of the whole vocabulary (A, V)."""
    everything = logits.log_softmax(-1)
    return everything.gather(-1, actions[:, None])[:, 0], everything
