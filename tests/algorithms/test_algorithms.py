"""An algorithm is a record of hyperparameters that fits a model; anybody can add one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from persona_env import cli
from persona_env.algorithms import ALGORITHMS, Run, load_algorithm, register_algorithm
from persona_env.algorithms.a2c import A2C
from persona_env.algorithms.ppo import PPO
from persona_env.runs.config import RunConfig
from persona_env.runs.training import training_envs
from persona_env.sb3 import LoraOptions
from persona_env.speakers.local import LanguageModel, load_tokenizer
from tests.stranger.persona_env_shop import Sweep


@pytest.fixture
def sweep():
    yield register_algorithm("sweep", Sweep)
    del ALGORITHMS._registered["sweep"]


@pytest.mark.usefixtures("sweep")
def test_an_algorithm_from_outside_trains_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small = "--tokens 128 --envs 4 --lines 2 --dialogues 2 --extended-dialogues 0 --split dev --threads 1"
    command = ["persona-env", "train", "--algorithm", "sweep?tries=3", *small.split()]
    monkeypatch.setattr(sys, "argv", [*command, "--out", str(tmp_path / "run")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    config, summary = (json.loads((tmp_path / "run" / f"{name}.json").read_text()) for name in ("config", "summary"))
    assert (config["algorithm"], config["tries"], summary["algorithm"]) == ("sweep", 3, "sweep")
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [record["tokens"] for record in records] == [1, 2, 3]
    trained, untrained = (LanguageModel.load(spec) for spec in (f"hf:{tmp_path / 'run' / 'model'}", "tiny"))
    assert not torch.equal(trained.model.lm_head.weight, untrained.model.lm_head.weight)


def test_hyperparameters_are_given_by_name_in_a_spec_or_both():
    assert load_algorithm("ppo?epochs=2&gradient_checkpointing=true", batch=8) == PPO(
        epochs=2, batch=8, gradient_checkpointing=True
    )
    assert load_algorithm("a2c", kl_coef=0.0) == A2C(kl_coef=0.0)


@pytest.mark.parametrize(
    ("spec", "given", "says"),
    [
        ("dqn", {}, "Expected an algorithm among ppo, a2c, got 'dqn'"),
        ("ppo?horizon=3", {}, "Expected an option among .*kl_coef.*, got 'horizon'"),
        ("ppo?epochs=many", {}, "Expected a whole number as epochs, got 'many'"),
        ("ppo:x", {}, "Expected an algorithm such as ppo, got 'ppo:x'"),
        ("a2c", {"epochs": 2}, "Expected hyperparameters of a2c among .*steps.*, got 'epochs'"),
        ("ppo", {"learning_rate": 0.0}, "Expected learning_rate > 0, got 0.0"),
        ("ppo", {"line_gamma": 1.5}, "Expected line_gamma <= 1, got 1.5"),
        ("ppo", {"kl_coef": float("nan")}, "Expected kl_coef >= 0, got nan"),
    ],
)
def test_an_unknown_algorithm_or_hyperparameter_is_named_in_one_line(spec: str, given: dict[str, Any], says: str):
    with pytest.raises(ValueError, match=says) as caught:
        load_algorithm(spec, **given)
    assert "\n" not in str(caught.value)


def test_what_is_asked_for_reaches_stable_baselines3():
    asked = PPO(lora_rank=8, lora_targets="q_proj, v_proj", micro_batch=512, gradient_checkpointing=True, kl_coef=0.2)
    config = RunConfig(envs=2, lines=2, algorithm=asked)
    made = asked.options("tiny", training_envs(config), 3)
    lora = LoraOptions(rank=8, alpha=16, targets=("q_proj", "v_proj"))
    policy = made["policy_kwargs"]
    assert (policy["lora"], policy["micro_batch"], policy["gradient_checkpointing"]) == (lora, 512, True)
    settings = policy["reference"], made["ent_coef"], made["normalize_advantage"], made["seed"]
    assert settings == ("initial", 0.2, False, 3)
    assert asked.trains_adapters
    assert not PPO().trains_adapters


@pytest.fixture
def saved(tmp_path: Path) -> str:
    """A Llama with random weights that knows the embedded world's words."""
    tokenizer: Any = load_tokenizer("tiny")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=None, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    LanguageModel(LlamaForCausalLM(config), tokenizer).save_pretrained(tmp_path / "model")
    return f"hf:{tmp_path / 'model'}"


@pytest.mark.slow
@pytest.mark.parametrize("kind", [PPO, A2C])
def test_models_from_folders_take_both_sides_and_adapters_learn(kind: Any, saved: str, tmp_path: Path):
    algorithm = kind(lora_rank=4, micro_batch=1024, steps=32, **({"batch": 64} if kind is PPO else {}))
    config = RunConfig(simulator=saved, task_agent=saved, envs=4, lines=2, max_tokens=8, algorithm=algorithm)
    learner = algorithm.make(LanguageModel.load(saved, max_tokens=8), training_envs(config), 0)
    learner.learn(256)
    policy: Any = learner.policy
    assert policy.limits.tokens == 1024
    assert policy.reference.adapters_off
    assert max(float(p.detach().abs().max()) for n, p in policy.lm.named_parameters() if "lora_B" in n) > 0
    speaker = LanguageModel(policy.lm, policy.tokenizer, policy.chat, max_tokens=8)
    policy.save_pretrained(tmp_path / "after")
    after = LanguageModel.load(f"hf:{tmp_path / 'after'}")
    ids = torch.arange(5, 25)[None]
    assert torch.allclose(after.model(ids).logits, speaker.model(ids).logits, atol=1e-5)


def test_an_algorithm_runs_without_a_run_folder():
    algorithm = PPO(steps=4, batch=8)
    model = LanguageModel.load("tiny", max_tokens=8)
    before = next(model.model.parameters()).clone()
    trained = algorithm.fit(model, training_envs(RunConfig(envs=2, lines=1, max_tokens=8)), Run(tokens=8))
    assert not torch.equal(next(trained.model.parameters()), before)
    assert trained.max_tokens == 8
