"""One pass of a language model that scores many choices at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from persona_env.sb3.trajectories import Slice

__all__ = ["choice_logits", "forbid", "log_probabilities"]


def choice_logits(
    model: Any,
    input_ids: Tensor,
    row: Tensor,
    position: Tensor,
    slices: Sequence[Slice] | None = None,
) -> tuple[Tensor, Tensor]:
    """Returns the next-token logits and the last hidden states at some places of a batch.

    The output layer sees these places only; whatever the model does to its logits after it (a scale, a
    soft cap) is done. The caller has put the model into evaluation mode.

    Args:
        model: A causal language model of transformers.
        input_ids: (S, L) int64, padded on the right.
        row: (A,) int64, the row of each place, ascending.
        position: (A,) int64, the place in the row.
        slices: Rows of like length that are run one slice after the other: little padding, and on a
            CPU a working set that stays in its cache. None: all rows at once.

    Returns:
        Logits (A, V) in float32 and hidden states (A, d) in the model's dtype.
    """
    if slices is None:
        logits, hidden = _run(model, input_ids, row, position)
        return logits.float(), hidden
    parts = [
        _run(
            model,
            input_ids[part.rows, : part.width],
            row[part.choices] - part.rows.start,
            position[part.choices],
        )
        for part in slices
    ]
    logits, hidden = (torch.cat(part) for part in zip(*parts, strict=True))
    return logits.float(), hidden


def _run(model: Any, input_ids: Tensor, row: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
    seen: list[Tensor] = []

    def keep_choices(module: torch.nn.Module, args: tuple[Any, ...]) -> tuple[Tensor]:
        seen.append(args[0][row, position])
        return (seen[0][None],)

    hook = model.get_output_embeddings().register_forward_pre_hook(keep_choices)
    try:
        logits = model(input_ids=input_ids, use_cache=False).logits
    finally:
        hook.remove()
    return logits[0], seen[0]


def forbid(logits: Tensor, forbidden: Tensor) -> Tensor:
    """Returns logits (A, V) in which the forbidden ids cannot be drawn.

    Their logit is the dtype's minimum and not -inf, whose gradient and whose KL are nan.
    """
    return logits.index_fill(-1, forbidden, torch.finfo(logits.dtype).min)


def log_probabilities(logits: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    """Returns log-probabilities of the actions (A,), and of the whole vocabulary (A, V)."""
    everything = logits.log_softmax(-1)
    return everything.gather(-1, actions[:, None])[:, 0], everything
