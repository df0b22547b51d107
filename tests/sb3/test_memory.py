"""Limits on memory hold, and change nothing but the memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import mse_loss
from transformers import AutoModelForCausalLM, Cohere2Config, Gemma2Config, GPT2Config, OPTConfig, PreTrainedModel

from persona_env.rl.packed_forward import ChoicePositions, MemoryLimits, choice_logits, choice_scores, choice_states
from tests.sb3.peak import peak_bytes
from tests.sb3.rollouts import collect, make
from tests.sb3.toys import PAD, ToyDialogues, tiny_llama

OPTIONS: list[dict[str, Any]] = [dict(tokens=64), dict(tokens=1), dict(layers=True), dict(tokens=64, layers=True)]


def deeper_llama(layers: int = 4) -> PreTrainedModel:
    config = tiny_llama().config
    config.num_hidden_layers = layers
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config)


def rollout() -> Any:
    envs = ToyDialogues(8, asks=2, lines=4)
    made = make(envs, deeper_llama(), n_steps=24, batch_size=192, policy_kwargs=dict(value_gradient=True))
    with torch.no_grad():
        made.policy.value_head.outer.weight.copy_(torch.linspace(-0.3, 0.3, 64))
    collect(made)
    return made


def ppo_loss(algorithm: Any, sample: Any) -> torch.Tensor:
    """The loss of stable-baselines3's PPO, in its order."""
    values, log_prob, entropy = algorithm.policy.evaluate_actions(sample.observations, sample.actions.long().flatten())
    ratio = torch.exp(log_prob - sample.old_log_prob)
    advantages = (sample.advantages - sample.advantages.mean()) / sample.advantages.std()
    return -(advantages * ratio).mean() - 0.01 * entropy.mean() + mse_loss(sample.returns, values.flatten())


def gradients(policy: Any, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    policy.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in policy.named_parameters() if p.grad is not None}


def furthest(got: dict[str, torch.Tensor], want: dict[str, torch.Tensor]) -> float:
    assert got.keys() == want.keys()
    return max(float((got[name] - want[name]).abs().max()) for name in want)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_minibatch_in_many_passes_has_the_gradient_of_one_pass(options: dict[str, Any]) -> None:
    made = rollout()
    sample = next(made.rollout_buffer.get(192))
    made.policy.set_training_mode(True)
    want = gradients(made.policy, ppo_loss(made, sample))
    made.policy.limits = MemoryLimits(**options)
    got = gradients(made.policy, ppo_loss(made, sample))
    assert furthest(got, want) < 1e-6 * max(float(gradient.abs().max()) for gradient in want.values())


def test_a_limit_on_tokens_limits_the_memory_of_activations() -> None:
    made = rollout()
    sample = next(made.rollout_buffer.get(192))
    assert sample.observations.input_ids.numel() > 500
    made.policy.set_training_mode(True)

    def peak(limits: MemoryLimits) -> int:
        made.policy.limits = limits
        return peak_bytes(lambda: gradients(made.policy, ppo_loss(made, sample)))

    whole, parts, layers = peak(MemoryLimits()), peak(MemoryLimits(tokens=96)), peak(MemoryLimits(layers=True))
    both = peak(MemoryLimits(tokens=96, layers=True))
    assert parts < whole / 4
    assert layers < whole / 2
    assert both < parts


def positions(rows: int, width: int, choices: int, vocabulary: int) -> tuple[ChoicePositions, torch.Tensor]:
    torch.manual_seed(1)
    ids = torch.randint(2, vocabulary, (rows, width))
    row = torch.arange(rows).repeat_interleave(choices)
    position = torch.arange(width - choices, width).repeat(rows)
    return ChoicePositions(ids, row, position), torch.randint(2, vocabulary, (rows * choices,))


def test_the_logits_of_a_large_vocabulary_never_stand_in_memory_together() -> None:
    """151,936 ids as in Qwen: 64 choices make 39 MB of logits, and a softmax takes several times that."""
    vocabulary = 151_936
    model = tiny_llama(vocabulary, width=8).eval()
    where, actions = positions(4, 20, 16, vocabulary)
    limits = MemoryLimits(logits=2 * vocabulary)
    scores: dict[bool, Any] = {}

    def score(bounded: bool) -> None:
        found = choice_scores(
            model, where, actions, lambda x: x.float(), limits=limits if bounded else MemoryLimits(logits=2**40),
            entropy=True,
        )  # fmt: skip
        assert found.entropy is not None
        scores[bounded] = found.chosen.detach(), gradients(model, found.chosen.mean() + found.entropy.mean())

    whole = 4 * len(actions) * vocabulary
    assert peak_bytes(lambda: score(False)) > 2 * whole
    assert peak_bytes(lambda: score(True)) < whole / 2
    assert torch.allclose(scores[True][0], scores[False][0], atol=1e-5)
    assert furthest(scores[True][1], scores[False][1]) < 1e-6


@pytest.mark.parametrize("kl_in", ["reward", "loss"])
def test_neither_the_update_nor_the_kl_penalty_holds_all_logits_of_a_large_vocabulary(kl_in: str) -> None:
    vocabulary = 33_000
    made = make(
        ToyDialogues(2, vocabulary=vocabulary), tiny_llama(vocabulary, width=8), n_steps=16, batch_size=32,
        policy_kwargs=dict(reference="initial"), rollout_buffer_kwargs=dict(kl_in=kl_in),
    )  # fmt: skip
    collect(made)
    made.policy.limits = MemoryLimits(logits=2 * vocabulary)
    made.policy.set_training_mode(True)
    sample = next(made.rollout_buffer.get(32))

    def update() -> None:
        made.rollout_buffer._log_ratio = None
        made.rollout_buffer.log_ratio()
        values, log_prob, extra = made.policy.evaluate_actions(sample.observations, sample.actions.flatten())
        extra = log_prob if extra is None else extra
        (values.mean() + log_prob.mean() + extra.mean()).backward()

    assert peak_bytes(update) < 4 * len(sample.actions) * vocabulary


def test_values_need_no_logits() -> None:
    vocabulary = 40_000
    policy = make(ToyDialogues(2, vocabulary=vocabulary), tiny_llama(vocabulary, width=8)).policy
    contexts = torch.randint(2, 20, (64, 16))
    with torch.no_grad():
        assert peak_bytes(lambda: policy.predict_values(contexts)) < 4 * 64 * vocabulary / 10


SHAPE: dict[str, Any] = dict(vocab_size=40, hidden_size=32, num_hidden_layers=2, num_attention_heads=4)
IDS: dict[str, Any] = dict(pad_token_id=PAD, bos_token_id=1, eos_token_id=1)
GROUPED: dict[str, Any] = dict(**SHAPE, **IDS, intermediate_size=64, num_key_value_heads=2)
CONFIGS = [
    Gemma2Config(**GROUPED, head_dim=8, final_logit_softcapping=0.5),
    Cohere2Config(**GROUPED, logit_scale=3.0),
    OPTConfig(**SHAPE, **IDS, ffn_dim=64, word_embed_proj_dim=16),
    GPT2Config(**SHAPE, **IDS),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.model_type)
def test_what_a_model_does_around_its_output_layer_is_done_part_by_part_too(config: Any) -> None:
    """A soft cap, a scale, a projection before it; dropout, where it is the default, stays off."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    where, actions = positions(3, 12, 5, 40)
    logits, hidden = choice_logits(model, where)
    assert torch.equal(choice_states(model, where), hidden)
    everything = logits.log_softmax(-1)
    chosen, entropy = everything.gather(1, actions[:, None])[:, 0], -(everything.exp() * everything).sum(-1)
    want = gradients(model, chosen.mean() + entropy.mean())
    for tokens, layers, logits in ((None, False, 120), (12, True, 2**24), (24, True, 120)):
        limits = MemoryLimits(tokens=tokens, layers=layers, logits=logits)
        got = choice_scores(model, where, actions, lambda logits: logits, limits=limits, entropy=True)
        assert got.entropy is not None
        assert torch.allclose(got.chosen, chosen, atol=1e-5)
        assert torch.allclose(got.entropy, entropy, atol=1e-5)
        assert furthest(gradients(model, got.chosen.mean() + got.entropy.mean()), want) < 1e-5


def test_layers_are_left_as_they_were() -> None:
    model = deeper_llama().eval()
    before = [dict(layer.__dict__) for layer in model.modules()]
    where, actions = positions(2, 8, 3, 20)
    choice_scores(model, where, actions, lambda x: x, limits=MemoryLimits(layers=True)).chosen.sum().backward()
    assert [dict(layer.__dict__) for layer in model.modules()] == before
