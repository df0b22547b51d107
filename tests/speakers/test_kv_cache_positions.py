"""Models that count places themselves: where laying rows end to end would tell them wrong, it is not done."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf

from persona_env.speakers.decoding.decoder import FullForwardDecoder
from persona_env.speakers.decoding.kv_cache import CannotDecode, RaggedDecoder, make_decoder
from tests.speakers.families import SHAPE, built


def llama4(floor: int, **more: Any) -> tf.Llama4TextConfig:
    """Its layers without RoPE sharpen their attention from place `floor` on."""
    layers = ["chunked_attention", "full_attention"]
    return tf.Llama4TextConfig(
        **SHAPE, intermediate_size_mlp=48, head_dim=8, attention_chunk_size=8, moe_layers=[], layer_types=layers,
        no_rope_layers=[1, 0], floor_scale=floor, attn_scale=1.0, **more,
    )  # fmt: skip


def worst(decoder: Any, rows: int, length: int) -> float:
    """How far the rows, read at once and then by a token, are from each alone."""
    ids = np.random.default_rng(0).integers(3, 120, (rows, length))
    off = 0.0
    for n in (np.arange(length - rows, length), np.arange(length - rows, length) + 1):
        got = decoder.extend(ids, n)[0].log_softmax(-1)
        for row in range(rows):
            with torch.no_grad():
                alone = decoder.model(torch.tensor(ids[row : row + 1, : n[row]]), use_cache=False).logits[0, -1]
            off = max(off, float((got[row] - alone.log_softmax(-1)).abs().max()))
    return off


def test_attention_that_sharpens_with_the_place_is_read_without_a_cache() -> None:
    model = built(llama4(16))
    with pytest.raises(CannotDecode, match="from 16 tokens on"):
        RaggedDecoder(model, 3, 16)
    with pytest.warns(UserWarning, match="without a cache"):
        decoder = make_decoder(model, 3, 40)
    assert isinstance(decoder, FullForwardDecoder)
    assert worst(decoder, 3, 40) < 1e-5


def test_below_that_place_no_rows_together_reach_it() -> None:
    assert worst(RaggedDecoder(built(llama4(16)), 5, 15), 5, 15) < 1e-5


def test_without_the_sharpening_llama_4_is_cached() -> None:
    assert worst(RaggedDecoder(built(llama4(16, attn_temperature_tuning=False)), 3, 40), 3, 40) < 1e-5
