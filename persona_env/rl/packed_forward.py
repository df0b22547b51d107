"""Forward passes that score many chosen tokens at once, within limits on memory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from persona_env.rl.shared_prefix_attention import shared_prefixes
from persona_env.rl.trajectories import Slice
from persona_env.speakers.decoding.decoder import before_output

__all__ = [
    "ChoicePositions",
    "MemoryLimits",
    "Scores",
    "checkpointing_layers",
    "choice_logits",
    "choice_scores",
    "choice_states",
    "forbid",
    "log_probabilities",
    "sample_tokens",
]


@dataclass(frozen=True, kw_only=True)
class MemoryLimits:
    """What one pass may keep in memory. Results and gradients do not depend on it.

    `tokens`, padding included, are those whose activations are kept at once; each such part is run again in the
    backward pass. None: all are kept. A longer row is a part of its own.
    """

    tokens: int | None = None
    layers: bool = False  # within a part, keep only the inputs of layers; each layer is run again
    logits: int = 2**24  # the most in memory at once, as a count of float32 numbers


class ChoicePositions(NamedTuple):
    """The positions in a batch at which tokens were chosen."""

    input_ids: Tensor  # (S, L) int64, padded on the right
    row: Tensor  # (A,) int64, the row of each choice, ascending
    position: Tensor  # (A,) int64, the column of the last token read before the choice
    slices: Sequence[Slice] | None = None  # see `Packed`; None: all rows at once
    branches: Tensor | None = None  # (3, S, L) int64, see `shared_prefixes`; None: each row is one text


class Scores(NamedTuple):
    """A model's scores of choices: log-probabilities (A,), entropies (A,) or None, hidden states (A, d)."""

    chosen: Tensor
    entropy: Tensor | None
    hidden: Tensor


_ALL = MemoryLimits()


def choice_logits(model: Any, positions: ChoicePositions, *, limits: MemoryLimits = _ALL) -> tuple[Tensor, Tensor]:
    """Returns the next-token logits (A, V), in float32, and the last hidden states (A, d) at the positions.

    Only these positions go through the output layer; whatever the model, which must be in evaluation mode, does to its
    logits after it (a scale, a soft cap) is done too. `choice_scores` scores more choices than fit in memory.
    """
    logits, hidden = zip(*_passes(model, positions, limits, True), strict=True)
    return _joined(logits).float(), _joined(hidden)


def choice_states(model: Any, positions: ChoicePositions, *, limits: MemoryLimits = _ALL) -> Tensor:
    """Returns the last hidden states (A, d) at the positions, as they enter the output layer."""
    return _joined([hidden for _, hidden in _passes(model, positions, limits, False)])


def choice_scores(
    model: Any,
    positions: ChoicePositions,
    actions: Tensor,
    allowed: Callable[[Tensor], Tensor],
    *,
    limits: MemoryLimits = _ALL,
    entropy: bool = False,
) -> Scores:
    """Scores chosen tokens (A,); where their logits do not fit in memory together, they are computed part by part.

    `allowed` turns logits (A, V) into those that are sampled from, in float32.
    """
    most = max(1, limits.logits // model.get_output_embeddings().weight.shape[0])
    if len(actions) <= most:
        logits, hidden = choice_logits(model, positions, limits=limits)
        return Scores(*_score(logits, actions, allowed, entropy), hidden)

    def score(states: Tensor, taken: Tensor) -> tuple[Tensor, Tensor | None]:
        return _score(_logits_of(model, states), taken, allowed, entropy)

    hidden = choice_states(model, positions, limits=limits)
    pieces = zip(hidden.split(most), actions.split(most), strict=True)
    scored = [_recomputed(score, *piece) for piece in pieces]
    chosen, entropies = zip(*scored, strict=True)
    return Scores(torch.cat(chosen), torch.cat(entropies) if entropy else None, hidden)


def _score(
    logits: Tensor, actions: Tensor, allowed: Callable[[Tensor], Tensor], entropy: bool
) -> tuple[Tensor, Tensor | None]:
    chosen, everything = log_probabilities(allowed(logits), actions)
    return chosen, -(everything.exp() * everything).sum(-1) if entropy else None


def _parts(positions: ChoicePositions, limits: MemoryLimits) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor | None]]:
    """The slices, cut further where they have more tokens than may be kept."""
    ids, row, position, slices, branches = positions
    if slices is None:
        slices = [Slice(slice(0, len(ids)), ids.shape[1], slice(0, len(row)))]
    for part in slices:
        rows, choices = ids[part.rows, : part.width], slice(part.choices.start, part.choices.stop)
        columns = None if branches is None else branches[:, part.rows, : part.width]
        inside, at = row[choices] - part.rows.start, position[choices]
        most = len(rows) if limits.tokens is None else max(1, limits.tokens // part.width)
        if most >= len(rows):
            yield rows, inside, at, columns
            continue
        cuts = torch.arange(0, len(rows) + most, most, device=row.device)
        ends: list[int] = torch.searchsorted(inside.contiguous(), cuts).tolist()
        for number, begin in enumerate(range(0, len(rows), most)):
            of = slice(ends[number], ends[number + 1])
            if of.stop > of.start:
                cut = slice(begin, begin + most)
                yield rows[cut], inside[of] - begin, at[of], None if columns is None else columns[:, cut]


def _passes(model: Any, positions: ChoicePositions, limits: MemoryLimits, with_logits: bool) -> list[Any]:
    """Runs the parts; their activations are kept, or computed again in the backward pass."""
    run: Any = partial(_run, model, limits.layers, with_logits)
    run = run if limits.tokens is None else partial(_recomputed, run)
    return [run(*part) for part in _parts(positions, limits)]


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _recomputed(run: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return run(*args, **kwargs)
    return checkpoint(run, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)


def _run(
    model: Any, by_layer: bool, with_logits: bool, input_ids: Tensor, row: Tensor, position: Tensor, branches: Any
) -> tuple[Tensor | None, Tensor]:
    """Logits (A, V) and last hidden states (A, d) at the choices; without logits the output layer gets one position."""
    seen: list[Tensor] = []

    def keep_choices(module: torch.nn.Module, args: tuple[Any, ...]) -> tuple[Tensor]:
        seen.append(args[0][row, position])
        return (seen[0][None] if with_logits else args[0][:1, :1].detach(),)

    layers = _layers_recomputed(model, by_layer)
    with before_output(model, keep_choices), layers, shared_prefixes(model, branches) as inputs:
        logits = model(input_ids=input_ids, use_cache=False, **inputs).logits
    return logits[0] if with_logits else None, seen[0]


def _logits_of(model: Any, states: Tensor) -> Tensor:
    """The logits (A, V) that the model makes of hidden states (A, d); its layers run on one dummy token."""
    token = torch.zeros(1, 1, dtype=torch.long, device=states.device)
    with before_output(model, lambda module, args: (states[None],)):
        return model(input_ids=token, use_cache=False).logits[0].float()


def checkpointing_layers(model: Any) -> list[Any]:
    """Returns the model's layers whose gradients transformers can checkpoint."""
    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]


@contextlib.contextmanager
def _layers_recomputed(model: Any, wanted: bool) -> Iterator[None]:
    """Keeps only the inputs of layers for the backward pass, which runs each layer again.

    transformers' own switch works in training mode only, where dropout would be on.
    """
    layers: list[Any] = checkpointing_layers(model) if wanted and torch.is_grad_enabled() else []
    own = [vars(layer).get("forward") for layer in layers]
    for layer in layers:
        layer.forward = partial(_recomputed, layer.forward)
    try:
        yield
    finally:
        for layer, forward in zip(layers, own, strict=True):
            del layer.forward
            if forward is not None:
                layer.forward = forward


def forbid(logits: Tensor, forbidden: Tensor) -> Tensor:
    """Returns logits (A, V) with which the forbidden ids are never sampled.

    Their logit is the dtype's minimum and not -inf, whose gradient and whose KL are nan.
    """
    return logits.index_fill(-1, forbidden, torch.finfo(logits.dtype).min)


def log_probabilities(logits: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    """Returns log-probabilities of the actions (A,), and of the whole vocabulary (A, V)."""
    everything = logits.log_softmax(-1)
    return everything.gather(-1, actions[:, None])[:, 0], everything


def sample_tokens(log_probs: Tensor) -> Tensor:
    """Samples one token per row of (R, V) by inversion; summed in float64, so that no forbidden token is drawn."""
    mass = log_probs.exp().cumsum(-1, dtype=torch.float64)
    drawn = torch.rand(len(mass), 1, dtype=torch.float64, device=mass.device) * mass[:, -1:]
    return torch.searchsorted(mass, drawn, right=True)[:, 0].clamp_(max=mass.shape[-1] - 1)
