"""A context that a model, or its reference, cannot read is refused before the first step."""

from __future__ import annotations

from typing import Any

import pytest
import transformers as tf

from tests.sb3.rollouts import collect, make
from tests.sb3.toys import ToyDialogues, tiny_llama
from tests.speakers.families import SHAPE, built

DYNAMIC = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}


def of_length(length: int, **more: Any) -> Any:
    return built(tf.LlamaConfig(**(SHAPE | {"vocab_size": 20}), max_position_embeddings=length, **more))


@pytest.mark.parametrize("more", [{}, {"rope_parameters": DYNAMIC}], ids=["Llama", "dynamic RoPE"])
def test_a_context_beyond_the_models_is_refused_and_one_as_long_is_not(more: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^Expected .* at most 95 tokens, got 96: ") as refused:
        make(ToyDialogues(2, context=96), of_length(95, **more))
    assert "\n" not in str(refused.value)
    collect(make(ToyDialogues(4, context=96), of_length(96, **more), n_steps=8))


def test_a_reference_has_to_read_the_context_too() -> None:
    with pytest.raises(ValueError, match="at most 95 tokens, got 96"):
        make(ToyDialogues(2, context=96), tiny_llama(), policy_kwargs=dict(reference=of_length(95)))
