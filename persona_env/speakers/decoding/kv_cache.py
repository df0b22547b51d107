"""Decoding with a KV cache whose rows have different lengths, for any transformers decoder that passes a self-check."""

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
    usable_length,
)
from persona_env.speakers.decoding.ragged_attention import NAME, RaggedPlan, SlotLayer, planned, switched

__all__ = ["NOT_FOLLOWED", "CannotDecode", "RaggedDecoder", "make_decoder", "sharpens_from"]

_MOST_TOKENS = 8192  # of one forward; limits the memory of masks and activations
# Raised by models that do not follow the attention interface:
NOT_FOLLOWED = (RuntimeError, ValueError, TypeError, AttributeError, LookupError)


class CannotDecode(InputError):  # noqa: N818 - reads better where it is caught
    """The model cannot use the ragged cache; the message says why."""

    def __init__(self, reason: str):
        super().__init__(
            f"Expected a model that fits the ragged cache, got one where {reason}: use FullForwardDecoder."
        )


class RaggedDecoder(Decoder):
    """A KV cache of conversations of different lengths; one step runs all their new tokens.

    The model's attention implementation is switched during a step only, and memory grows with use. At construction
    the decoder compares itself with the model's full forward on two short rows.

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
        self._make_cache(2)
        _check_against_full_forward(self)
        self._make_cache(rows)

    def _make_cache(self, slots: int) -> None:
        self._layers = [SlotLayer(slots, self.max_len) for _ in range(self._depth)]
        self._cache = Cache(layers=list(self._layers))

    @torch.inference_mode()
    def clear_cache(self) -> None:
        """Empties all rows; call it when the weights have changed."""
        super().clear_cache()
        for layer in self._layers:
            layer.reset()

    def step(self, slots: Ints, start: Ints, count: Ints, tokens: Ints) -> tuple[Tensor, Tensor]:
        """See `Decoder.step`."""
        if len(tokens) > self._most and len(slots) > 1:
            half = len(slots) // 2
            cut = int(count[:half].sum())
            first = self.step(slots[:half], start[:half], count[:half], tokens[:cut])
            second = self.step(slots[half:], start[half:], count[half:], tokens[cut:])
            return torch.cat([first[0], second[0]]), torch.cat([first[1], second[1]])
        device = self.model.device
        plan = RaggedPlan.lay_out(slots, start, count, layers=self._depth, device=device)
        with switched(self.model, NAME, planned, plan):
            out = self._forward(
                None if plan.parts[0].target is None else (slice(None), plan.parts[0].target),
                input_ids=torch.from_numpy(tokens).to(device)[None],
                position_ids=plan.at[None],
                past_key_values=self._cache,
                use_cache=True,
            )
        if plan.calls != self._depth:
            raise CannotDecode(
                f"{self._depth - plan.calls} of {self._depth} layers do not attend through the attention interface"
            )
        return out


def make_decoder(model: PreTrainedModel, rows: int, max_len: int) -> Decoder:
    """Returns a `RaggedDecoder`; where the model cannot use it, warns and returns a `FullForwardDecoder`."""
    try:
        return RaggedDecoder(model, rows, max_len)
    except CannotDecode as error:
        warnings.warn(f"Decoding without a cache, which is slow. {error}", stacklevel=2)
        return FullForwardDecoder(model, rows, max_len)


def _refuse_by_config(model: PreTrainedModel, max_len: int) -> None:
    """Raises CannotDecode where the configuration says that rows would change each other's results."""
    if rope_follows_length(model) and max_len > (most := usable_length(model)):
        raise CannotDecode(f"RoPE follows the longest row beyond {most} tokens and max_len is {max_len}")
    if max_len >= (most := sharpens_from(model)):
        raise CannotDecode(
            f"attention sharpens from {most:.0f} tokens on, of all rows together, and max_len is {max_len}"
        )
    if setting(model, "alibi") or setting(model, "model_type") in ("bloom", "mpt"):
        raise CannotDecode("ALiBi biases do not go through the attention interface")


def sharpens_from(model: PreTrainedModel) -> float:
    """Returns from which number of tokens in one forward attention sharpens (Llama 4: whatever their positions)."""
    return float(setting(model, "floor_scale")) if setting(model, "attn_temperature_tuning") else math.inf


def _check_against_full_forward(decoder: RaggedDecoder) -> None:
    """Reads two rows: all but three tokens of each, two, and the last; compares with the model's own forward."""
    model, length = decoder.model, min(decoder.max_len, 12)
    text = model.config.get_text_config()
    tokens = np.random.default_rng(0).integers(0, text.vocab_size, (2, length))
    tokens[tokens == text.pad_token_id] = text.vocab_size - 1 if text.pad_token_id == 0 else 0
    ends, got = np.array([length, length // 2 + 1]), torch.empty(0)
    try:
        for begin, end in pairwise([np.zeros_like(ends), np.maximum(ends - 3, 0), np.maximum(ends - 1, 0), ends]):
            if (end > begin).all():
                new = [row[b:e] for row, b, e in zip(tokens, begin, end, strict=True)]
                got = decoder.step(np.arange(2), begin, end - begin, np.concatenate(new))[0]
        for row, end in enumerate(ends):
            ids = torch.from_numpy(tokens[row : row + 1, :end]).to(model.device)
            with torch.inference_mode():
                want = model(input_ids=ids, use_cache=False).logits[0, -1]
            off = distance(got[row], want)
            if not off <= tolerance(want.dtype):
                raise CannotDecode(f"log-probabilities are {off:.1e} of the largest from the full forward's")
    except (InputError, torch.OutOfMemoryError):
        raise
    except NOT_FOLLOWED as error:
        why = " ".join(str(error).split())[:160]
        raise CannotDecode(f"the attention interface is not followed ({why})") from error
