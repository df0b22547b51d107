"""One pass of a language model that scores many choices at once, within bounds of memory."""

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

from persona_env.rl.shared_prefix_attention import reading
from persona_env.rl.trajectories import Slice

__all__ = [
    "ChoicePositions",
    "MemoryLimits",
    "Scores",
    "choice_logits",
    "choice_scores",
    "choice_states",
    "forbid",
    "has_layers",
    "log_probabilities",
]


@dataclass(frozen=True, kw_only=True)
class MemoryLimits:
    """What one pass may keep in memory. The results and the gradients are the same with any.

    Attributes:
        tokens: Tokens, padding included, whose activations are kept at once; each such part is run again
            when its gradient is due. None: all are kept. A longer row is a part of its own.
        layers: Within a part, keep only what stands between layers; each layer is run again.
        logits: Numbers in the logits that stand in memory at once, in float32.
    """

    tokens: int | None = None
    layers: bool = False
    logits: int = 2**24


class ChoicePositions(NamedTuple):
    """Where choices were made in a batch.

    Attributes:
        input_ids: (S, L) int64, padded on the right.
        row: (A,) int64, the row of each place, ascending.
        position: (A,) int64, the place in the row.
        slices: Rows of like length that are run one slice after the other: little padding, and on a
            CPU a working set that stays in its cache. None: all rows at once.
        branches: (3, S, L) int64, see `persona_env.rl.shared_prefix_attention`; None: each row is one text.
    """

    input_ids: Tensor
    row: Tensor
    position: Tensor
    slices: Sequence[Slice] | None = None
    branches: Tensor | None = None


class Scores(NamedTuple):
    """What a model says of choices: log-probabilities (A,), entropies (A,) or None, hidden states (A, d)."""

    chosen: Tensor
    entropy: Tensor | None
    hidden: Tensor


_ALL = MemoryLimits()


def choice_logits(
    model: Any,
    input_ids: Tensor,
    row: Tensor,
    position: Tensor,
    slices: Sequence[Slice] | None = None,
    branches: Tensor | None = None,
    *,
    bounds: MemoryLimits = _ALL,
) -> tuple[Tensor, Tensor]:
    """Returns the next-token logits and the last hidden states at some places of a batch.

    The output layer sees these places only; whatever the model does to its logits after it (a scale, a
    soft cap) is done. The caller has put the model into evaluation mode. All logits are returned
    together: `choice_scores` is the way to score more than fit.

    Args:
        model: A causal language model of transformers.
        input_ids: See `ChoicePositions`.
        row: See `ChoicePositions`.
        position: See `ChoicePositions`.
        slices: See `ChoicePositions`.
        branches: See `ChoicePositions`.
        bounds: What may be kept of the activations.

    Returns:
        Logits (A, V) in float32 and hidden states (A, d) in the model's dtype.
    """
    run = partial(_run, model, bounds.layers)
    parts = [
        _kept(run, bounds, *part)
        for part in _parts(ChoicePositions(input_ids, row, position, slices, branches), bounds)
    ]
    logits, hidden = parts[0] if len(parts) == 1 else (torch.cat(part) for part in zip(*parts, strict=True))
    return logits.float(), hidden


def choice_states(model: Any, places: ChoicePositions, *, bounds: MemoryLimits = _ALL) -> Tensor:
    """Returns the last hidden states (A, d) at some places of a batch, as they enter the output layer."""
    run = partial(_run_to_states, model, bounds.layers)
    parts = [_kept(run, bounds, *part) for part in _parts(places, bounds)]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def choice_scores(
    model: Any,
    places: ChoicePositions,
    actions: Tensor,
    allowed: Callable[[Tensor], Tensor],
    *,
    bounds: MemoryLimits = _ALL,
    entropy: bool = False,
) -> Scores:
    """Scores choices; where their logits would not fit, they are made, used and dropped part by part.

    Args:
        model: A causal language model of transformers.
        places: Where the choices were made.
        actions: (A,) int64, the chosen tokens.
        allowed: Turns logits (A, V) into those that are drawn from, in float32.
        bounds: What may be kept in memory.
        entropy: Whether entropies are wanted.
    """
    most = max(1, bounds.logits // model.get_output_embeddings().weight.shape[0])
    if len(actions) <= most:
        logits, hidden = choice_logits(model, *places, bounds=bounds)
        return Scores(*_score(logits, actions, allowed, entropy), hidden)

    def score(states: Tensor, taken: Tensor) -> tuple[Tensor, Tensor | None]:
        return _score(_logits_of(model, states), taken, allowed, entropy)

    hidden = choice_states(model, places, bounds=bounds)
    pieces = zip(hidden.split(most), actions.split(most), strict=True)
    scored = [_recomputed(score, *piece) for piece in pieces]
    chosen, entropies = zip(*scored, strict=True)
    return Scores(torch.cat(chosen), torch.cat(entropies) if entropy else None, hidden)


def _score(
    logits: Tensor, actions: Tensor, allowed: Callable[[Tensor], Tensor], entropy: bool
) -> tuple[Tensor, Tensor | None]:
    chosen, everything = log_probabilities(allowed(logits), actions)
    return chosen, -(everything.exp() * everything).sum(-1) if entropy else None


def _parts(places: ChoicePositions, bounds: MemoryLimits) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor | None]]:
    """The slices, cut further where they hold more tokens than may be kept."""
    ids, row, position, slices, branches = places
    if slices is None:
        slices = [Slice(slice(0, len(ids)), ids.shape[1], slice(0, len(row)))]
    for part in slices:
        rows, choices = ids[part.rows, : part.width], slice(part.choices.start, part.choices.stop)
        beside = None if branches is None else branches[:, part.rows, : part.width]
        inside, at = row[choices] - part.rows.start, position[choices]
        most = len(rows) if bounds.tokens is None else max(1, bounds.tokens // part.width)
        if most >= len(rows):
            yield rows, inside, at, beside
            continue
        cuts = torch.arange(0, len(rows) + most, most, device=row.device)
        ends: list[int] = torch.searchsorted(inside.contiguous(), cuts).tolist()
        for number, begin in enumerate(range(0, len(rows), most)):
            of = slice(ends[number], ends[number + 1])
            if of.stop > of.start:
                cut = slice(begin, begin + most)
                yield rows[cut], inside[of] - begin, at[of], None if beside is None else beside[:, cut]


def _kept(run: Callable[..., Any], bounds: MemoryLimits, *part: Tensor | None) -> Any:
    """Runs a part; its activations are kept, or made again when they are needed."""
    return run(*part) if bounds.tokens is None else _recomputed(run, *part)


def _recomputed(run: Callable[..., Any], *given: Any, **more: Any) -> Any:
    if not torch.is_grad_enabled():
        return run(*given, **more)
    return checkpoint(run, *given, use_reentrant=False, preserve_rng_state=False, **more)


def _run(
    model: Any, by_layer: bool, input_ids: Tensor, row: Tensor, position: Tensor, branches: Tensor | None
) -> tuple[Tensor, Tensor]:
    seen: list[Tensor] = []

    def keep_choices(module: torch.nn.Module, args: tuple[Any, ...]) -> tuple[Tensor]:
        seen.append(args[0][row, position])
        return (seen[0][None],)

    with _before_output(model, keep_choices), _layers_recomputed(model, by_layer), reading(model, branches) as more:
        logits = model(input_ids=input_ids, use_cache=False, **more).logits
    return logits[0], seen[0]


def _run_to_states(
    model: Any, by_layer: bool, input_ids: Tensor, row: Tensor, position: Tensor, branches: Tensor | None
) -> Tensor:
    """As `_run`, but the output layer gets one place only, whose logits nobody reads."""
    seen: list[Tensor] = []

    def keep_choices(module: torch.nn.Module, args: tuple[Any, ...]) -> tuple[Tensor]:
        seen.append(args[0][row, position])
        return (args[0][:1, :1].detach(),)

    with _before_output(model, keep_choices), _layers_recomputed(model, by_layer), reading(model, branches) as more:
        model(input_ids=input_ids, use_cache=False, **more)
    return seen[0]


def _logits_of(model: Any, states: Tensor) -> Tensor:
    """The model's own way from hidden states (A, d) to logits (A, V): its layers run idle, on one token."""
    token = torch.zeros(1, 1, dtype=torch.long, device=states.device)
    with _before_output(model, lambda module, args: (states[None],)):
        return model(input_ids=token, use_cache=False).logits[0].float()


@contextlib.contextmanager
def _before_output(model: Any, hook: Callable[..., tuple[Tensor]]) -> Iterator[None]:
    handle = model.get_output_embeddings().register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def has_layers(model: Any) -> bool:
    """Returns whether transformers marks layers of the model as such that can be run again."""
    return any(isinstance(module, GradientCheckpointingLayer) for module in model.modules())


@contextlib.contextmanager
def _layers_recomputed(model: Any, wanted: bool) -> Iterator[None]:
    """Keeps what stands between layers only.

    transformers' own switch works in training mode alone, where dropout would be on.
    """
    layers: list[Any] = []
    if wanted and torch.is_grad_enabled():
        layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    own = [layer.__dict__.get("forward") for layer in layers]
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
    """Returns logits (A, V) in which the forbidden ids cannot be drawn.

    Their logit is the dtype's minimum and not -inf, whose gradient and whose KL are nan.
    """
    return logits.index_fill(-1, forbidden, torch.finfo(logits.dtype).min)


def log_probabilities(logits: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    """Returns log-probabilities of the actions (A,), and of the whole vocabulary (A, V)."""
    everything = logits.log_softmax(-1)
    return everything.gather(-1, actions[:, None])[:, 0], everything
