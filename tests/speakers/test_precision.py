"""Attention over ragged rows is as exact as the numbers that a model computes with."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers as tf

from persona_env.rl.shared_prefix_attention import shares_prefixes
from persona_env.speakers.decoding.kv_cache import RaggedDecoder, make_decoder
from persona_env.speakers.decoding.ragged_attention import attend
from tests.speakers.families import FAMILIES, SHAPE, built
from tests.speakers.test_kv_cache import error

LARGER = {**SHAPE, "hidden_size": 128, "num_hidden_layers": 4, "initializer_range": 0.05}


@pytest.mark.parametrize("config", [tf.LlamaConfig(**LARGER), FAMILIES["Gemma2"]], ids=["plain", "soft cap"])
def test_a_model_of_double_precision_keeps_it(config: tf.PreTrainedConfig) -> None:
    decoder = make_decoder(built(config).double(), 2, 24)
    assert isinstance(decoder, RaggedDecoder)
    ids, n = np.random.default_rng(0).integers(3, 120, (2, 24)), np.array([20, 9])
    for more in range(3):
        assert error(decoder, ids, n + more) < 1e-6


def test_a_model_that_is_very_sure_reads_on_as_it_did_before() -> None:
    """Training makes log-probabilities large and so their rounding, too; what a model reads must not change then."""
    model = built(tf.LlamaConfig(**LARGER, tie_word_embeddings=False))
    with torch.no_grad():
        model.lm_head.weight *= 300.0
        assert float(model(torch.arange(3, 20)[None]).logits.log_softmax(-1).abs().max()) > 300
    assert isinstance(make_decoder(model, 2, 24), RaggedDecoder)
    assert shares_prefixes(model)


@pytest.mark.parametrize(("dtype", "worst"), [(torch.float32, 2e-6), (torch.float64, 1e-13), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("softcap", [None, 5.0])
def test_attention_by_hand(dtype: torch.dtype, worst: float, steps: int, softcap: float | None) -> None:
    """Two query heads share each of two key heads; the second row sees five of its seven positions."""
    draw = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, *shape, generator=draw).to(dtype) for shape in ((steps, 4, 8), (2, 7, 8), (2, 7, 8)))
    mask = torch.zeros(2, 1, steps, 7)
    mask[1, ..., 5:] = -torch.inf
    found = attend(q, k, v, mask, softcap=softcap)
    for row in range(2):
        for head in range(4):
            queries, keys, values = (x.double() for x in (q[row, :, head], k[row, head // 2], v[row, head // 2]))
            scores = queries @ keys.T / 8**0.5
            scores = scores if softcap is None else softcap * torch.tanh(scores / softcap)
            want = (scores + mask[row, 0]).softmax(-1) @ values
            assert float((found[row, :, head].double() - want).abs().max()) < worst
