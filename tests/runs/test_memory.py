"""A run's settings reach the policy, and models from folders can take both seats."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from persona_env.algorithms.loops import make_learner
from persona_env.runs.memory import loading_options, memory_options
from persona_env.runs.training_envs import rewarded_dialogues
from persona_env.runs.config import RunConfig
from persona_env.sb3 import LoraOptions, as_sb3
from persona_env.speakers.local import LanguageModel, load_tokenizer


@dataclass(frozen=True, kw_only=True)
class Sized(RunConfig):
    """The settings with those of memory."""

    lora_rank: int = 0
    lora_alpha: float = 0.0
    lora_targets: str = "all-linear"
    micro_batch: int = 0
    gradient_checkpointing: bool = False
    load_in_4bit: bool = False
    dtype: str = "auto"


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


def test_nothing_asked_for_is_the_policys_default() -> None:
    assert memory_options(RunConfig()) == dict(lora=None, micro_batch=None, gradient_checkpointing=False)
    assert loading_options(RunConfig()) == dict(dtype="auto", load_in_4bit=False)


def test_what_is_asked_for_reaches_the_policy() -> None:
    asked = Sized(lora_rank=8, lora_targets="q_proj, v_proj", micro_batch=512, gradient_checkpointing=True)
    lora = LoraOptions(rank=8, alpha=16, targets=("q_proj", "v_proj"))
    assert memory_options(asked) == dict(lora=lora, micro_batch=512, gradient_checkpointing=True)
    assert loading_options(Sized(lora_rank=8, load_in_4bit=True, dtype="bfloat16")) == dict(
        dtype="bfloat16", load_in_4bit=True
    )


def test_four_bits_without_adapters_are_refused() -> None:
    with pytest.raises(ValueError, match="Expected lora_rank >= 1 with load_in_4bit, got 0"):
        loading_options(Sized(load_in_4bit=True))


@pytest.mark.parametrize("algorithm", ["ppo", "a2c"])
def test_models_from_folders_take_both_seats_and_adapters_learn(algorithm: str, saved: str, tmp_path: Path) -> None:
    settings: Any = Sized(
        algorithm=algorithm, simulator=saved, task_agent=saved, lora_rank=4, micro_batch=1024, envs=4, steps=32,
        lines=2, tokens=256, max_tokens=8, batch=64,
    )  # fmt: skip
    simulator = LanguageModel.load(saved, max_tokens=8, **loading_options(settings))
    learner = make_learner(as_sb3(rewarded_dialogues(settings)), settings, simulator)
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
