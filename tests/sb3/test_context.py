"""A context that a model cannot read is refused before the first step."""

from __future__ import annotations

from typing import Any

import pytest
import transformers as tf

from tests.sb3.rollouts import collect, make
from tests.sb3.toys import ToyDialogues, tiny_llama
from tests.speakers.families import FAMILIES, SHAPE, built

SHAPE_20: dict[str, Any] = SHAPE | {"vocab_size": 20}
DYNAMIC = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}


def gpt2(positions: int) -> tf.GPT2Config:
    shape: dict[str, Any] = FAMILIES["GPT2"].to_diff_dict() | {"vocab_size": 20, "n_positions": positions}
    return tf.GPT2Config(**shape)


CONFIGS = {
    "GPT-2": gpt2,
    "dynamic RoPE": lambda length: tf.LlamaConfig(**SHAPE_20, max_position_embeddings=length, rope_parameters=DYNAMIC),
    "Llama": lambda length: tf.LlamaConfig(**SHAPE_20, max_position_embeddings=length),
}


@pytest.mark.parametrize("family", CONFIGS)
def test_a_context_beyond_the_models_is_refused_and_one_as_long_is_not(family: str) -> None:
    with pytest.raises(ValueError, match=r"^Expected .* at most 95 tokens, got 96: ") as refused:
        make(ToyDialogues(2, context=96), built(CONFIGS[family](95)))
    assert "\n" not in str(refused.value)
    collect(make(ToyDialogues(4, context=96), built(CONFIGS[family](96)), n_steps=8))


def test_a_reference_has_to_read_the_context_too() -> None:
    short = built(CONFIGS["Llama"](95))
    with pytest.raises(ValueError, match="at most 95 tokens, got 96"):
        make(ToyDialogues(2, context=96), tiny_llama(), policy_kwargs=dict(reference=short))


def test_adapters_do_not_hide_the_length() -> None:
    pytest.importorskip("peft")
    with pytest.raises(ValueError, match="at most 95 tokens, got 96"):
        make(ToyDialogues(2, context=96), built(CONFIGS["Llama"](95)), policy_kwargs=dict(lora=dict(rank=2)))
