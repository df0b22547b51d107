"""The cached rows say what the model's own full forward says, whatever happens to them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf

from persona_env.speakers.decoding.decoder import Decoder, FullForwardDecoder, usable_length
from persona_env.speakers.decoding.kv_cache import CannotDecode, RaggedDecoder, make_decoder
from tests.speakers import small
from tests.speakers.families import BLOOM, FAMILIES, MAMBA, SHAPE, built, llama4

torch.set_num_threads(1)
DYNAMIC = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}


def naive(model: Any, contexts: list[Any]) -> torch.Tensor:
    with torch.no_grad():
        each = [model(torch.tensor(c)[None], use_cache=False).logits[0, -1] for c in contexts]
    return torch.stack(each).log_softmax(-1)


def ragged_play(rows: int, steps: int, longest: int, seed: int = 0) -> Iterator[tuple[Any, Any]]:
    """Rows grow by a token or a reply, are cut back as after a probe, or start anew."""
    rng = np.random.default_rng(seed)
    ids, n = np.zeros((rows, longest), np.int32), np.zeros(rows, np.int64)
    for _ in range(steps):
        for i in range(rows):
            what = rng.random()
            if n[i] == 0 or n[i] > longest - 10 or what < 0.05:
                n[i] = 0
            elif what < 0.2:
                n[i] = max(1, n[i] - rng.integers(1, 6))
            new = rng.integers(2, 10) if n[i] == 0 or what > 0.8 else 1
            ids[i, n[i] : n[i] + new] = rng.integers(3, 120, new)
            n[i] += new
        yield ids[:, : n.max() + 1].copy(), n.copy()


def error(decoder: Decoder, ids: Any, n: Any, rows: Any = None) -> float:
    """The largest distance of log-probabilities from the model's own full forward."""
    want = naive(decoder.model, [row[:k].tolist() for row, k in zip(ids, n, strict=True)])
    return float((decoder.extend(ids, n, rows)[0].log_softmax(-1) - want).abs().max())


@pytest.mark.parametrize("family", FAMILIES)
def test_ragged_play_equals_the_full_forward(family: str) -> None:
    decoder = RaggedDecoder(built(FAMILIES[family]), 4, 40)
    assert max(error(decoder, ids, n) for ids, n in ragged_play(4, 14, 40)) < 1e-5


@pytest.mark.parametrize("rows", [[0, 1], [0, 3], [0, 40], [3, 1, 2], [2]])
def test_some_rows_run_while_others_idle(rows: list[int]) -> None:
    decoder = RaggedDecoder(built(FAMILIES["Llama"]), 41, 40)
    ids = np.random.default_rng(1).integers(3, 120, (41, 12))
    n = np.random.default_rng(2).integers(2, 9, 41)
    decoder.extend(ids, n)
    chosen = np.array(rows)
    for count in (1, 2):  # the single-token path and the other
        n[chosen] += count
        assert error(decoder, ids[chosen], n[chosen], chosen) < 1e-5
    assert error(decoder, ids, n) < 1e-5


@pytest.mark.parametrize("kind", [RaggedDecoder, FullForwardDecoder])
def test_append_equals_extend(kind: type[Decoder]) -> None:
    model = built(FAMILIES["Llama"])
    one, other = kind(model, 3, 20), kind(model, 3, 20)
    ids, n = np.random.default_rng(0).integers(3, 120, (3, 12)), np.array([4, 6, 5])
    one.extend(ids, n)
    other.extend(ids, n)
    rows = np.array([0, 2])
    found: Any = None
    for _ in range(2):
        found = one.append(rows, ids[rows, n[rows]])
        n[rows] += 1
    for got, want in zip(found, other.extend(ids[rows], n[rows], rows), strict=True):
        assert torch.allclose(got, want, atol=1e-4)
    assert (one.n == n).all()
    assert all((one.ids[row, : n[row]] == ids[row, : n[row]]).all() for row in rows)


def test_only_what_is_new_is_run() -> None:
    model = built(FAMILIES["Llama"])
    decoder, run = RaggedDecoder(model, 2, 40), []
    model.model.embed_tokens.register_forward_hook(lambda m, a, out: run.append(out.shape[1]))
    ids, n = np.random.default_rng(0).integers(3, 120, (2, 30)), np.array([20, 10])
    decoder.extend(ids, n)
    decoder.extend(ids, n + 1)  # both grow by one
    decoder.extend(ids, n + np.array([2, 6]))  # by one and by a reply
    ids[0, 5] += 1
    decoder.extend(ids, n + np.array([3, 7]))  # one is rewritten from position 5 on
    assert run == [30, 2, 6, 18 + 1]


def test_nan_left_behind_by_bad_weights_is_forgotten() -> None:
    model = built(FAMILIES["Llama"])
    decoder = RaggedDecoder(model, 2, 20)
    good = model.model.embed_tokens.weight.detach().clone()
    ids = np.arange(3, 23).reshape(2, 10)
    with torch.no_grad():
        model.model.embed_tokens.weight.fill_(float("nan"))
        assert decoder.extend(ids, np.array([10, 10]))[0].isnan().all()
        model.model.embed_tokens.weight.copy_(good)
    decoder.clear_cache()
    # Row 0 is short now, and is read together with row 1 over ten positions.
    assert not decoder.extend(ids, np.array([2, 10]))[0].isnan().any()


def test_a_long_prompt_is_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("persona_env.speakers.decoding.kv_cache._MOST_TOKENS", 10)
    ids, n = np.random.default_rng(0).integers(3, 120, (3, 9)), np.array([7, 9, 5])
    assert error(RaggedDecoder(built(FAMILIES["Llama"]), 3, 20), ids, n) < 1e-5


@pytest.mark.parametrize(("begun", "appends"), [(0, False), (50, False), (50, True)])
def test_wherever_a_step_is_interrupted_the_next_is_right(begun: int, appends: bool) -> None:
    """In the first step of all, where the store (of 64) has to grow, and where it has to for one more token."""
    model = built(FAMILIES["Gemma2"])
    old, new = np.random.default_rng(0).integers(3, 120, (2, 3, 90))
    for module in model.modules():
        decoder = RaggedDecoder(model, 3, 90)
        if begun:
            decoder.extend(old, np.full(3, begun))
        if appends:
            decoder.extend(new, np.full(3, 64))
        hook = module.register_forward_pre_hook(interrupt)
        with contextlib.suppress(KeyboardInterrupt):
            decoder.append(np.arange(3), new[:, 64]) if appends else decoder.extend(new, np.full(3, 70))
        hook.remove()
        assert model.config._attn_implementation == "eager"
        assert not model.get_output_embeddings()._forward_pre_hooks
        assert error(decoder, new[1:2], np.array([30]), np.array([1])) < 1e-5
        assert error(decoder, new, np.array([65, 49, 64])) < 1e-5


def interrupt(*args: Any) -> None:
    raise KeyboardInterrupt


def test_training_mode_is_refused() -> None:
    model = built(FAMILIES["GPT2"])
    decoder = RaggedDecoder(model, 1, 8)
    model.train()
    with pytest.raises(ValueError, match=r"eval\(\)"):
        decoder.extend(np.array([[3]]), np.array([1]))


@pytest.mark.parametrize(
    ("model", "why"),
    [(built(BLOOM), "ALiBi"), (built(MAMBA), "do not attend through"), (llama4(16), "from 16 tokens on")],
)
def test_what_does_not_fit_is_refused_and_read_without_a_cache(model: Any, why: str) -> None:
    with pytest.raises(CannotDecode, match=why):
        RaggedDecoder(model, 3, 24)
    with pytest.warns(UserWarning, match=why):
        decoder = make_decoder(model, 3, 24)
    assert isinstance(decoder, FullForwardDecoder)
    assert max(error(decoder, ids, n) for ids, n in ragged_play(3, 4, 24)) < 1e-5


def test_a_model_whose_attention_differs_fails_the_self_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("persona_env.speakers.decoding.ragged_attention.attend", lambda q, *rest, **options: q * 0)
    with pytest.raises(CannotDecode, match="from the full forward"):
        RaggedDecoder(built(FAMILIES["Llama"]), 1, 8)


def test_rope_that_follows_the_longest_row_is_refused_beyond_the_length_up_to_which_it_stays() -> None:
    model = built(tf.LlamaConfig(**SHAPE, max_position_embeddings=16, rope_parameters=DYNAMIC))
    assert usable_length(model) == 16
    RaggedDecoder(model, 3, 16)
    with pytest.raises(CannotDecode, match="RoPE follows"):
        RaggedDecoder(model, 3, 17)


@pytest.mark.parametrize(("rows", "length", "more"), [(5, 15, {}), (3, 40, {"attn_temperature_tuning": False})])
def test_llama_4_is_cached_where_its_attention_does_not_sharpen(rows: int, length: int, more: dict[str, Any]) -> None:
    decoder = RaggedDecoder(llama4(16, **more), rows, length)
    ids = np.random.default_rng(0).integers(3, 120, (rows, length))
    for n in (np.arange(length - rows, length), np.arange(length - rows, length) + 1):
        assert error(decoder, ids, n) < 1e-5


@pytest.mark.parametrize("n", [[0, 3], [3, 5], [3, 9]])
def test_contexts_of_impossible_length_are_refused(n: list[int]) -> None:
    decoder = RaggedDecoder(small.model(120), 2, 8)
    with pytest.raises(ValueError, match="Expected"):
        decoder.extend(np.full((2, 4), 3), np.array(n))
