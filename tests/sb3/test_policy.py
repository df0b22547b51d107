"""The policy: one distribution, however it is computed; masks, dropout, saving."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from transformers import AutoModelForCausalLM, AutoTokenizer

from persona_env.rl import sample_tokens
from persona_env.sb3 import TokenPolicy
from persona_env.spaces import TokenContext
from tests.sb3.rollouts import collect, make, random_values
from tests.sb3.toys import PAD, ToyDialogues, tiny_llama
from tests.speakers import small
from tests.speakers.families import FAMILIES


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


def test_the_reference_is_no_part_of_the_policy() -> None:
    policy = make(ToyDialogues(2), tiny_llama(), policy_kwargs=dict(reference="initial")).policy
    assert not [name for name in policy.state_dict() if "reference" in name]


def test_the_policys_own_model_is_no_reference() -> None:
    model = tiny_llama()
    with pytest.raises(ValueError, match="say 'initial'"):
        make(ToyDialogues(2), model, policy_kwargs=dict(reference=model))


def test_a_saved_model_is_an_ordinary_one_and_comes_back_with_its_value_head(tmp_path: Path) -> None:
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
    again = make(ToyDialogues(2, vocabulary=size), f"hf:{tmp_path}")
    context = torch.tensor(algorithm._last_obs)
    with torch.no_grad():
        assert torch.allclose(algorithm.policy.predict_values(context), again.policy.predict_values(context))


def test_stable_baselines_own_saving_still_works(tmp_path: Path) -> None:
    algorithm = make(ToyDialogues(2), tiny_llama(), policy_kwargs=dict(reference="initial")).learn(64)
    algorithm.policy.save(str(tmp_path / "policy.pt"))
    algorithm.save(tmp_path / "all.zip")
    context = torch.tensor(algorithm._last_obs)
    want: Any = algorithm.policy.get_distribution(context).distribution
    for policy in (TokenPolicy.load(str(tmp_path / "policy.pt")), PPO.load(tmp_path / "all.zip", device="cpu").policy):
        assert isinstance(policy, TokenPolicy)
        assert all(map(torch.equal, algorithm.policy.parameters(), policy.parameters()))
        found: Any = policy.get_distribution(context).distribution
        assert torch.allclose(found.logits, want.logits, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_are_trained_in_single_precision(dtype: torch.dtype) -> None:
    model: Any = tiny_llama()
    assert make(ToyDialogues(2), model.to(dtype)).policy.lm.dtype == torch.float32
