"""The policy: one distribution, however it is computed; masks, dropout, saving."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf
from gymnasium import spaces
from transformers import AutoModelForCausalLM, AutoTokenizer

from persona_env.errors import InputError
from persona_env.rl import load_trainable, sample_tokens
from persona_env.sb3 import TokenPolicy
from persona_env.spaces import TokenContext
from persona_env.speakers.local import LanguageModel
from tests.sb3.rollouts import collect, make, random_values
from tests.sb3.toys import PAD, ToyDialogues, tiny_llama
from tests.speakers import small
from tests.speakers.families import FAMILIES, SHAPE, built


def compared(algorithm: Any, batch: int = 32) -> dict[str, float]:
    """The largest distances between the rollout's, the packed and the naive figures."""
    random_values(algorithm)
    contexts = collect(algorithm)
    worst: dict[str, float] = dict.fromkeys(("packed", "naive", "value", "naive_value"), 0.0)
    everything = torch.from_numpy(np.concatenate(contexts))
    for packed in algorithm.rollout_buffer.batches(batch):
        sample = algorithm.rollout_buffer.samples(packed)
        actions = sample.actions.long().flatten()
        with torch.no_grad():
            values, log_prob, _ = algorithm.policy.evaluate_actions(sample.observations, actions)
            naive_values, naive, _ = algorithm.policy.evaluate_actions(everything[packed.step], actions)
        for name, difference in (
            ("packed", log_prob - sample.old_log_prob),
            ("naive", naive - log_prob),
            ("value", values.flatten() - sample.old_values),
            ("naive_value", naive_values - values),
        ):
            worst[name] = max(worst[name], float(difference.abs().max()))
    return worst


@pytest.mark.parametrize("asks", [0, 1, 2])
@pytest.mark.parametrize("cut_after", [None, 7])
def test_rollout_update_and_full_forward_give_the_same_log_probabilities_and_values(
    asks: int, cut_after: int | None
) -> None:
    envs = ToyDialogues(4, asks=asks, cut_after=cut_after, reply=12)
    worst = compared(make(envs, tiny_llama(), n_steps=48))
    assert max(worst.values()) < 1e-5, worst


def test_a_second_rollout_after_an_update_sees_the_new_weights() -> None:
    algorithm = make(ToyDialogues(4, asks=1), tiny_llama(), learning_rate=1e-2)
    collect(algorithm)
    algorithm.train()
    assert compared(algorithm)["packed"] < 1e-5


def test_weights_that_are_set_by_hand_are_noticed() -> None:
    algorithm = make(ToyDialogues(4), tiny_llama())
    collect(algorithm)
    with torch.no_grad():
        algorithm.policy.lm.get_output_embeddings().weight.mul_(1.5)
    context = torch.tensor(algorithm._last_obs)
    got = algorithm.policy.get_distribution(context).distribution.logits
    with torch.enable_grad():
        want = algorithm.policy.get_distribution(context).distribution.logits
    assert torch.allclose(got, want, atol=1e-5)
    actions, _ = algorithm.predict(algorithm._last_obs, deterministic=True)
    assert (actions == want.argmax(-1).numpy()).all()


def test_dropout_changes_nothing() -> None:
    """GPT-2's default dropout is 0.1, and stable-baselines3 switches to training mode for the update."""
    algorithm = make(ToyDialogues(4, asks=1, vocabulary=120), FAMILIES["GPT2"])
    collect(algorithm)
    algorithm.policy.set_training_mode(True)
    assert algorithm.policy.training
    assert not any(module.training for module in algorithm.policy.lm.modules())
    for sample in algorithm.rollout_buffer.get(32):
        _, log_prob, _ = algorithm.policy.evaluate_actions(sample.observations, sample.actions.flatten())
        assert (log_prob - sample.old_log_prob).abs().max() < 1e-5


def test_forbidden_tokens_are_never_said_and_nothing_is_nan() -> None:
    policy = dict(forbidden_ids=tuple(range(5, 20)), reference="initial")
    algorithm = make(ToyDialogues(4, asks=1), tiny_llama(scale=1.0), policy_kwargs=policy, ent_coef=0.1).learn(128)
    said = set(algorithm.rollout_buffer.actions.flatten().tolist())
    assert said <= {1, 2, 3, 4}
    assert len(said) > 1
    assert all(parameter.isfinite().all() for parameter in algorithm.policy.parameters())
    assert np.isfinite(algorithm.rollout_buffer.returns).all()


def test_tokens_are_drawn_with_their_probabilities() -> None:
    torch.manual_seed(0)
    probabilities = torch.tensor([0.0, 0.5, 0.2, 0.0, 0.25, 0.05, 0.0])
    log_probs = probabilities.clamp(min=1e-45).log().masked_fill(probabilities == 0, torch.finfo().min)
    drawn = sample_tokens(log_probs.expand(20_000, -1)).bincount(minlength=7) / 20_000
    assert (drawn[probabilities == 0] == 0).all()
    assert torch.allclose(drawn, probabilities, atol=0.015)


BOX, CONTEXT, TOKENS = spaces.Box(0, 19, (8,), np.int32), TokenContext(20, 8, PAD), spaces.Discrete(20)


@pytest.mark.parametrize(
    ("observations", "actions", "options", "message"),
    [
        (TokenContext(19, 8, PAD), spaces.Discrete(19), {}, "got 20 ids"),
        (TokenContext(21, 8, PAD), spaces.Discrete(21), {}, "got 20 ids"),
        (BOX, TOKENS, {}, "use a token environment"),
        (CONTEXT, BOX, {}, "use a token environment"),
        (CONTEXT, TOKENS, dict(use_sde=True), "use_sde=False"),
        (CONTEXT, TOKENS, dict(micro_batch=0), "micro_batch >= 1"),
        (CONTEXT, TOKENS, dict(model=tiny_llama().base_model), "causal language model"),
    ],
)
def test_what_does_not_fit_is_refused(observations: Any, actions: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TokenPolicy(observations, actions, lambda _: 1e-3, **{"model": tiny_llama(), **options})


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


def test_the_policys_own_model_is_no_reference() -> None:
    model = tiny_llama()
    with pytest.raises(ValueError, match="say 'initial'"):
        make(ToyDialogues(2), model, policy_kwargs=dict(reference=model))


def test_a_saved_model_is_an_ordinary_one(tmp_path: Path) -> None:
    tokenizer = small.tokenizer()
    size = len(tokenizer)
    algorithm = make(ToyDialogues(2, vocabulary=size), tiny_llama(size), policy_kwargs=dict(tokenizer=tokenizer))
    assert algorithm.policy.forbidden_ids == algorithm.policy.chat.forbidden_ids
    algorithm.learn(64).policy.save_pretrained(tmp_path)
    assert {"model.safetensors", "tokenizer.json", "value_head.safetensors"} <= {p.name for p in tmp_path.iterdir()}
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path).chat_template == small.CHATML
    for old, new in zip(algorithm.policy.lm.parameters(), loaded.parameters(), strict=True):
        assert torch.equal(old, new)


def test_a_value_head_is_loaded_with_its_own_model_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = small.tokenizer()
    envs, file = ToyDialogues(2, vocabulary=len(tokenizer)), Path("tiny/value_head.safetensors")
    monkeypatch.chdir(tmp_path)
    policy = make(envs, tiny_llama(len(tokenizer)), policy_kwargs=dict(tokenizer=tokenizer)).policy
    with torch.no_grad():
        policy.value_head.outer.weight.fill_(5)
    policy.save_pretrained("tiny")
    assert load_trainable("tiny").folder is None

    def weight(**options: Any) -> float:
        return make(envs, "hf:tiny", policy_kwargs=options).policy.value_head.outer.weight[0, 0].item()

    assert [weight(), weight(value_scale=4.0), weight(value_width=8)] == [5, 0, 0]
    whole = file.read_bytes()
    for damaged in (b"", whole[:-4], whole[:-1] + b"x"):
        file.write_bytes(damaged)
        with pytest.raises(InputError, match=r"^Expected a whole value head in .*got a damaged file"):
            weight()
    file.write_bytes(whole)
    LanguageModel(tiny_llama(len(tokenizer), seed=1), tokenizer).save_pretrained("tiny")
    assert weight() == 0


def test_a_distribution_over_trajectories_can_be_differentiated_twice_as_trpo_does() -> None:
    algorithm = make(ToyDialogues(4, asks=1), tiny_llama())
    collect(algorithm)
    where, weights = next(algorithm.rollout_buffer.get(32)).observations, algorithm.policy.lm.lm_head.weight
    with torch.no_grad():
        before: Any = algorithm.policy.get_distribution(where).distribution
    kl = torch.distributions.kl_divergence(algorithm.policy.get_distribution(where).distribution, before).mean()
    (gradient,) = torch.autograd.grad(kl, weights, create_graph=True)
    assert torch.autograd.grad(gradient.sum(), weights)[0].abs().sum() > 0


def test_evaluations_leave_the_cache_of_the_rollout_alone() -> None:
    algorithm = make(ToyDialogues(4), tiny_llama())
    collect(algorithm)
    policy, context, run = algorithm.policy, torch.tensor(algorithm._last_obs), list[int]()
    policy.forward(context)
    for rows in (1, 3, 2, 9, 4):
        policy.predict(np.random.default_rng(rows).integers(2, 20, (rows, 96)))
    policy.forward(context[:3])
    policy.lm.model.embed_tokens.register_forward_hook(lambda m, a, out: run.append(out.shape[1]))
    policy.forward(context)
    assert run == [4], "only the last token of each"
    assert [decoder.rows for decoder in policy._decoders.values()] == [4, 9]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_are_trained_in_single_precision(dtype: torch.dtype) -> None:
    model: Any = tiny_llama()
    assert make(ToyDialogues(2), model.to(dtype)).policy.lm.dtype == torch.float32
