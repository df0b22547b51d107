"""Texts that share a row are read as if each stood alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf

from persona_env.rl.packed_forward import ChoicePositions, MemoryLimits, choice_scores
from persona_env.rl.shared_prefix_attention import shared_prefixes, shares_prefixes
from tests.sb3.rollouts import collect, make
from tests.sb3.test_memory import furthest, gradients, ppo_loss
from tests.sb3.test_policy import compared
from tests.sb3.toys import ToyDialogues, tiny_llama
from tests.speakers.families import BLOOM, FAMILIES, MAMBA, SHAPE, built, llama4

TEXT = list(range(3, 33))
TAILS = {12: [40, 41, 42, 43], 20: [50, 51], 1: [60] * 14}
"""By the position at which it leaves the text: longer and shorter than a sliding window."""
SINKS = tf.GptOssConfig(**SHAPE, head_dim=8, sliding_window=8, num_local_experts=2, num_experts_per_tok=1)


def texts() -> list[list[int]]:
    return [TEXT, *(TEXT[:fork] + tail for fork, tail in TAILS.items())]


def one_row(padding: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """All texts in a row: tokens (1, L) and branches (3, 1, L)."""
    columns = [(token, position, 0, 0) for position, token in enumerate(TEXT)]
    for number, (fork, tail) in enumerate(TAILS.items(), 1):
        columns += [(token, fork + i, number, fork) for i, token in enumerate(tail)]
    columns += [(0, 0, -1, 0)] * padding
    found = torch.tensor(columns).T[:, None]
    return found[0], found[1:]


@pytest.mark.parametrize("family", [*FAMILIES, "GPT-OSS"])
def test_each_text_in_a_row_gets_the_logits_that_it_gets_alone(family: str) -> None:
    model = built(SINKS if family == "GPT-OSS" else FAMILIES[family])
    ids, branches = one_row()
    assert shares_prefixes(model)
    with torch.no_grad(), shared_prefixes(model, branches) as inputs:
        got = model(input_ids=ids, use_cache=False, **inputs).logits[0].log_softmax(-1)
    begin = 0
    for text, fork in zip(texts(), [0, *TAILS], strict=True):
        with torch.no_grad():
            want = model(input_ids=torch.tensor([text]), use_cache=False).logits[0].log_softmax(-1)
        own = len(text) - fork
        assert float((got[begin : begin + own] - want[fork:]).abs().max()) < 1e-5
        begin += own


@pytest.mark.parametrize("config", [BLOOM, MAMBA], ids=lambda config: config.model_type)
def test_a_model_that_does_not_follow_the_interface_shares_no_prefixes(config: Any) -> None:
    assert not shares_prefixes(built(config))


def test_attention_that_sharpens_with_the_position_shares_no_prefixes_and_is_scored_alike_all_the_same() -> None:
    assert not shares_prefixes(llama4(128))
    assert shares_prefixes(llama4(128, attn_temperature_tuning=False))
    made = make(ToyDialogues(4, asks=1, reply=12, vocabulary=120), llama4(24))
    with pytest.warns(UserWarning, match="without a cache"):
        worst = compared(made)
    assert max(worst.values()) < 1e-5, worst


def rollout() -> Any:
    envs = ToyDialogues(6, asks=1, lines=4)
    made = make(envs, tiny_llama(), n_steps=48, policy_kwargs=dict(reference="initial"))
    collect(made)
    return made


@pytest.mark.parametrize("limits", [MemoryLimits(), MemoryLimits(tokens=96), MemoryLimits(layers=True)], ids=str)
def test_shared_rows_give_the_gradient_of_rows_of_their_own_and_hold_fewer_tokens(limits: MemoryLimits) -> None:
    made = rollout()
    made.policy.limits, buffer = limits, made.rollout_buffer
    everything = np.arange(len(buffer.trajectories.parent))
    found, sizes = [], []
    for shared in (False, True):
        packed = buffer.trajectories.packed(everything, 512, shared=shared)
        sizes.append(int((packed.input_ids != 0).sum()))
        found.append(gradients(made.policy, ppo_loss(made, buffer.samples(packed))))
    assert sizes[1] < 0.8 * sizes[0]
    assert furthest(*found) < 1e-5 * max(float(gradient.abs().max()) for gradient in found[0].values())


def test_the_update_shares_rows_where_both_models_can() -> None:
    made = rollout()
    assert made.policy.shares_prefixes
    assert next(made.rollout_buffer.get(64)).observations.branches is not None
    alone = make(ToyDialogues(4, asks=1, vocabulary=120), built(BLOOM), n_steps=8)
    with pytest.warns(UserWarning, match="without a cache"):
        collect(alone)
    assert not alone.policy.shares_prefixes
    assert next(alone.rollout_buffer.get(64)).observations.branches is None


def test_padding_is_read_by_nobody() -> None:
    model = tiny_llama(99).eval()
    scores = []
    for padding in (0, 7):
        ids, branches = one_row(padding)
        positions = ChoicePositions(ids, torch.zeros(3, dtype=torch.long), torch.tensor([29, 33, 49]), None, branches)
        scores.append(choice_scores(model, positions, torch.tensor([5, 6, 7]), lambda logits: logits.float()).chosen)
    assert torch.allclose(*scores, atol=1e-6)
    assert scores[0].isfinite().all()
