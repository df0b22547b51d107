"""What was saved comes back with the same weights, the same reference, and the same chat format."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from stable_baselines3 import PPO
from transformers import AutoTokenizer

from persona_env.envs.context_length import load_format
from persona_env.sb3 import TokenPolicy, as_sb3
from persona_env.speakers.local import LanguageModel
from tests.sb3.rollouts import make
from tests.sb3.toys import ToyDialogues, tiny_llama
from tests.speakers import small

GREETING = "{{ strftime_now('%Y') }}{% if not enable_thinking %}{{ greet }}{{ xs }}{% endif %}"


def test_a_template_and_its_arguments_are_saved_and_any_program_renders_them(tmp_path: Path) -> None:
    tokenizer = small.tokenizer(None)
    arguments = {"greet": "Say \"Grüß\tGott\" {% 'x' %}\n😀.", "xs": [1, None, {"a": True}]}
    envs, model = ToyDialogues(2, vocabulary=len(tokenizer)), tiny_llama(len(tokenizer))
    format = dict(tokenizer=tokenizer, chat_template=GREETING + small.CHATML, template_kwargs=arguments)
    policy: Any = make(envs, model, policy_kwargs=format).policy
    policy.save(str(tmp_path / "policy.pt"))
    policy.save_pretrained(tmp_path / "model")
    again, loaded = TokenPolicy.load(str(tmp_path / "policy.pt")), f"hf:{tmp_path / 'model'}"
    speaker = LanguageModel.load(loaded)
    speaker.save_pretrained(tmp_path / "again")
    want = policy.chat.opening("You are Ann.", "Hi.")
    chat: Any
    for chat in (again.chat, speaker.chat, make(envs, loaded).policy.chat, load_format(f"hf:{tmp_path / 'again'}")):
        assert chat.opening("You are Ann.", "Hi.") == want
    assert all(map(torch.equal, policy.parameters(), again.parameters()))
    messages = [{"role": "system", "content": "You are Ann."}, {"role": "user", "content": "Hi."}]
    for folder in ("model", "again"):
        other: Any = AutoTokenizer.from_pretrained(tmp_path / folder)
        assert other.apply_chat_template(messages, add_generation_prompt=True, return_dict=False) == want
    assert policy.tokenizer.chat_template is None


def trained(model: Any, envs: Any) -> Any:
    return make(envs, model, learning_rate=1e-2, policy_kwargs=dict(reference="initial")).learn(128)


def test_a_live_models_initial_reference_is_saved_and_found_again(tmp_path: Path) -> None:
    envs, model = as_sb3(ToyDialogues(4)), tiny_llama()
    untrained = copy.deepcopy(model)
    algorithm = trained(model, envs)
    sample = next(algorithm.rollout_buffer.get(16))
    want = algorithm.policy.reference_log_probs(sample.observations, sample.actions)
    for time in range(2):  # what was loaded can be saved and loaded again
        algorithm.save(tmp_path / f"{time}.zip")
        algorithm: Any = PPO.load(tmp_path / f"{time}.zip", env=envs, device="cpu")
        policy: Any = algorithm.policy
        assert torch.equal(policy.reference_log_probs(sample.observations, sample.actions), want)
        weights = (model.parameters() for model in (policy.reference.model, untrained, policy.lm))
        for weight, before, now in zip(*weights, strict=True):
            assert torch.equal(weight, before)
            assert not weight.requires_grad
            assert not torch.equal(weight, now)
        algorithm.learn(128, reset_num_timesteps=False)


def test_the_reference_of_a_model_that_was_trained_before_is_what_it_is_now() -> None:
    envs, model = as_sb3(ToyDialogues(4)), tiny_llama()
    first = trained(model, envs)
    for again in (model, copy.deepcopy(model)):
        second = make(envs, again, policy_kwargs=dict(reference="initial"))
        models = (second.policy.reference.model, again, first.policy.reference.model)
        for weight, now, old in zip(*(m.parameters() for m in models), strict=True):
            assert torch.equal(weight, now)
            assert not torch.equal(weight, old)
