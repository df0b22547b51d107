"""Decoding with a KV cache whose rows have different lengths.

In here: `RaggedDecoder`, for any transformers decoder that passes its self-check, and `make_decoder`, which falls
back to `FullForwardDecoder` for the others.
"""

from __future__ import annotations

import math
import warnings
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from transformers import Cache, PreTrainedModel

from persona_env.errors import InputError
from persona_env.speakers.decoding.decoder import (
    Decoder,
    FullForwardDecoder,
    Ints,
    distance,
    rope_follows_length,
    setting,
    tolerance,
    trained_length,
    usable_length,
)
from persona_env.speakers.decoding.ragged_attention import NAME, RaggedPlan, SlotLayer, planned

__all__ = [
    "CannotDecode",
    "Decoder",
    "FullForwardDecoder",
    "RaggedDecoder",
    "make_decoder",
    "sharpens_from",
    "usable_length",
]

_MOST_TOKENS = 8192  # of one forward; limits the memory of masks and activations
_CHECKED = 12  # tokens of the longer row of the self-check
_PROBE_ERRORS = (RuntimeError, ValueError, TypeError, AttributeError, LookupError)


class CannotDecode(InputError):  # noqa: N818 - reads better where it is caught
    """The model cannot use the ragged cache; the message says why."""

    def __init__(self, reason: str):
        super().__init__(
            f"Expected a model that fits the ragged cache, got one where {reason}: use FullForwardDecoder."
        )


class RaggedDecoder(Decoder):
    """A KV cache of conversations of different lengths; one step runs all their new tokens.

    The model's attention implementation is switched during a step only. At construction the decoder compares itself
    with the model's full forward on two short rows.

    Args:
        model: Any transformers decoder whose attention goes through the attention interface.
        rows: The number of conversations.
        max_len: The longest context; memory grows with use.

    Raises:
        CannotDecode: If the model cannot use it, with the reason.

    >>> from transformers import LlamaConfig, LlamaForCausalLM
    >>> config = LlamaConfig(vocab_size=20, hidden_size=8, intermediate_size=8,
    ...                      num_hidden_layers=1, num_attention_heads=2)
    >>> decoder = RaggedDecoder(LlamaForCausalLM(config).eval(), rows=2, max_len=16)
    >>> logits, hidden = decoder.extend(np.array([[3, 4, 5], [6, 7, 0]]), np.array([3, 2]))
    >>> logits.shape, hidden.shape
    (torch.Size([2, 20]), torch.Size([2, 8]))
    """

    def __init__(self, model: PreTrainedModel, rows: int, max_len: int):
        super().__init__(model, rows, max_len)
        _refuse_by_config(model, max_len)
        self._most = min(_MOST_TOKENS, sharpens_from(model) - 1)
        self._depth = model.config.get_text_config().num_hidden_layers
        self._make_cache(2, max_len)
        _check_against_full_forward(self)
        self._make_cache(rows, max_len)

    def _make_cache(self, slots: int, max_len: int) -> None:
        self._layers = [SlotLayer(slots, max_len) for _ in range(self._depth)]
        self._cache = Cache(layers=list(self._layers))

    @torch.inference_mode()
    def clear_cache(self) -> None:
        """Empties all rows; call it when the weights have changed."""
        super().clear_cache()
        for layer in self._layers:
            layer.reset()

    def step(self, slots: Ints, start: Ints, count: Ints, tokens: Ints) -> tuple[Tensor, Tensor]:
        """See `Decoder.step`."""
        self._check_length(int((start + count).max()))
        if len(tokens) > self._most and len(slots) > 1:
            half = len(slots) // 2
            cut = int(count[:half].sum())
            first = self.step(slots[:half], start[:half], count[:half], tokens[:cut])
            second = self.step(slots[half:], start[half:], count[half:], tokens[cut:])
            return torch.cat([first[0], second[0]]), torch.cat([first[1], second[1]])
        device, config = self.model.device, self.model.config
        plan = RaggedPlan.lay_out(slots, start, count, layers=self._depth, device=device)
        found, token = config._attn_implementation, planned.set(plan)
        config._attn_implementation = NAME
        try:
            out = self._forward(
                None if plan.last.index is None else (slice(None), plan.last.index),
                input_ids=torch.from_numpy(tokens).to(device)[None],
                position_ids=plan.at[None],
                past_key_values=self._cache,
                use_cache=True,
            )
        finally:
            config._attn_implementation = found
            planned.reset(token)
        if plan.calls != self._depth:
            raise CannotDecode(
                f"{self._depth - plan.calls} of {self._depth} layers do not attend through the attention interface"
            )
        return out

    @torch.inference_mode()
    def _add_slots(self, more: int) -> None:
        for layer in self._layers:
            layer.add_slots(more)


def make_decoder(model: PreTrainedModel, rows: int, max_len: int) -> Decoder:
    """Returns a `RaggedDecoder`; where the model cannot use it, warns and returns a `FullForwardDecoder`."""
    try:
        return RaggedDecoder(model, rows, max_len)
    except CannotDecode as error:
        warnings.warn(f"Decoding without a cache, which is slow. {error}", stacklevel=2)
        return FullForwardDecoder(model, rows, max_len)


def _refuse_by_config(model: PreTrainedModel, max_len: int) -> None:
    """Raises CannotDecode where the configuration says that rows would change each other's results."""
    if rope_follows_length(model) and max_len > (trained_length(model) or 0):
        raise CannotDecode(
            f"RoPE follows the longest row beyond {trained_length(model)} tokens and max_len is {max_len}"
        )
    if max_len >= (most := sharpens_from(model)):
        raise CannotDecode(
            f"attention sharpens from {most:.0f} tokens on, of all rows together, and max_len is {max_len}"
        )
    if setting(model, "alibi") or setting(model, "model_type") in ("bloom", "mpt"):
        raise CannotDecode("ALiBi biases do not go through the attention interface")


def sharpens_from(model: PreTrainedModel) -> float:
    """Returns the number of tokens in one forward that changes a model's attention; infinity for almost all models.

    Llama 4's layers without RoPE count the columns of a forward, whatever their positions.
    """
    return float(setting(model, "floor_scale")) if setting(model, "attn_temperature_tuning") else math.inf


def _check_against_full_forward(decoder: RaggedDecoder) -> None:
    """Reads two rows in three steps and compares with the model's own forward."""
    model, training = decoder.model, decoder.model.training
    length = min(decoder.max_len, _CHECKED)
    text = model.config.get_text_config()
    tokens = np.random.default_rng(0).integers(0, text.vocab_size, (2, length))
    tokens[tokens == text.pad_token_id] = text.vocab_size - 1 if text.pad_token_id == 0 else 0
    ends = np.array([length, length // 2 + 1])
    model.eval()
    try:
        got = _read_in_three_steps(decoder, tokens, ends)
        for row, end in enumerate(ends):
            ids = torch.from_numpy(tokens[row : row + 1, :end]).to(model.device)
            with torch.inference_mode():
                want = model(input_ids=ids, use_cache=False).logits[0, -1]
            off = distance(got[row], want)
            if not off <= tolerance(want.dtype):
                raise CannotDecode(f"log-probabilities are {off:.1e} of the largest from the full forward's")
    except CannotDecode:
        raise
    except _PROBE_ERRORS as error:
        why = " ".join(str(error).split())[:160]
        raise CannotDecode(f"the attention interface is not followed ({why})") from error
    finally:
        model.train(training)


def _read_in_three_steps(decoder: RaggedDecoder, tokens: Ints, ends: Ints) -> Tensor:
    """All but three tokens of each row, two, and the last one; returns the last logits."""
    cuts = [np.zeros_like(ends), np.maximum(ends - 3, 0), np.maximum(ends - 1, 0), ends]
    logits = torch.empty(0)
    for begin, end in pairwise(cuts):
        if (end > begin).all():
            new = [row[b:e] for row, b, e in zip(tokens, begin, end, strict=True)]
            logits = decoder.step(np.arange(2), begin, end - begin, np.concatenate(new))[0]
    return logits
