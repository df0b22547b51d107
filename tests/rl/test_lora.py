"""Adapters: they alone learn, the model under them is the reference, and what is saved is an ordinary model."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from stable_baselines3 import PPO
from transformers import AutoModelForCausalLM, MixtralConfig

from persona_env.models.merging import base_model, save_merged
from persona_env.rl.lora import add_adapters
from persona_env.rl.packed_forward import ChoicePositions, MemoryLimits, choice_logits
from persona_env.sb3 import LoraOptions
from persona_env.speakers.local import LanguageModel, load_model, load_tokenizer
from tests.sb3.peak import storage_of
from tests.sb3.rollouts import collect, make
from tests.sb3.test_policy import compared
from tests.sb3.toys import ToyDialogues, tiny_llama
from tests.speakers import small
from tests.speakers.families import FAMILIES, SHAPE

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # asked by peft
LORA = LoraOptions(rank=4, alpha=8)
IDS = torch.arange(2, 20)[None]
WHERE = ChoicePositions(IDS, torch.zeros(18, dtype=torch.long), torch.arange(18))
CONFIGS = [FAMILIES["Qwen3"], FAMILIES["GPT2"], MixtralConfig(**SHAPE, num_local_experts=4)]


def stir(model: Any, size: float = 0.1) -> None:
    """Adapters that say something; at first their product is 0."""
    torch.manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, size)


def with_adapters(model: Any = None, **options: Any) -> Any:
    policy = dict(lora=LORA) | options.pop("policy_kwargs", {})
    model = model or tiny_llama()
    envs = ToyDialogues(4, asks=1, vocabulary=model.config.vocab_size)
    return make(envs, model, policy_kwargs=policy, **options)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.model_type)
def test_rollout_update_and_full_forward_agree_with_adapters_at_work_and_so_does_the_reference(config: Any) -> None:
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_config(config)
    untouched = copy.deepcopy(base).eval()
    made = with_adapters(base, policy_kwargs=dict(reference="initial"), n_steps=16)
    stir(made.policy.lm)
    worst = compared(made)
    assert max(worst.values()) < 1e-5, worst
    assert torch.equal(made.policy.reference.logits(WHERE, MemoryLimits()), choice_logits(untouched, WHERE)[0])


def test_the_adapters_alone_are_trained_and_the_reference_is_bit_for_bit_the_model_that_was_given() -> None:
    base = tiny_llama()
    untouched = copy.deepcopy(base).eval()
    made = with_adapters(base, policy_kwargs=dict(reference="initial"), learning_rate=1e-2)
    trained = {id(parameter) for parameter in made.policy.optimizer.param_groups[0]["params"]}
    names = [name for name, parameter in made.policy.named_parameters() if id(parameter) in trained]
    assert len(names) == len(trained)
    assert all("lora_" in name or name.startswith("value_head") for name in names)
    made.learn(128 * 2)
    given = choice_logits(untouched, WHERE)[0]
    assert torch.equal(made.policy.reference.logits(WHERE, MemoryLimits()), given)
    assert not torch.equal(choice_logits(base_model(made.policy.lm), WHERE)[0], given)
    assert all(p.requires_grad for n, p in made.policy.lm.named_parameters() if "lora_" in n)


def test_there_is_no_second_copy_of_the_weights() -> None:
    base = tiny_llama()
    held = {storage_of(p): p.untyped_storage().nbytes() for p in base.parameters()}
    made = with_adapters(base, policy_kwargs=dict(reference="initial"))
    collect(made)
    policy = made.policy
    models = [policy.lm, policy.reference.model, base_model(policy.lm)]
    found = {storage_of(p): p.untyped_storage().nbytes() for model in models for p in model.parameters()}
    adapters = sum(p.untyped_storage().nbytes() for n, p in policy.lm.named_parameters() if "lora_" in n)
    assert held.items() <= found.items()
    assert sum(found.values()) == sum(held.values()) + adapters


def test_what_is_saved_is_an_ordinary_model_and_the_policy_stays_bit_for_bit(tmp_path: Path) -> None:
    tokenizer = small.tokenizer()
    size = len(tokenizer)
    made = make(ToyDialogues(2, vocabulary=size), tiny_llama(size), policy_kwargs=dict(tokenizer=tokenizer, lora=LORA))
    policy = made.policy
    stir(policy.lm)
    before = {name: weight.clone() for name, weight in policy.state_dict().items()}
    policy.save_pretrained(tmp_path, adapter=True)
    assert all(torch.equal(weight, before[name]) for name, weight in policy.state_dict().items())
    assert {p.name for p in tmp_path.iterdir()} >= {"model.safetensors", "tokenizer.json", "value_head.safetensors"}
    assert not [p for p in tmp_path.rglob("*") if p.suffix in (".bin", ".pt", ".pth", ".pkl")]
    want = base_model(policy.lm)(IDS).logits
    plain = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert sorted(plain.state_dict()) == sorted(tiny_llama(size).state_dict())
    assert torch.allclose(plain(IDS).logits, want, atol=1e-5)
    spec = f"hf:{tmp_path}"
    assert LanguageModel.load(spec).chat.vocabulary == size
    again = make(ToyDialogues(2, vocabulary=size), spec, policy_kwargs=dict(lora=LORA))
    assert torch.allclose(base_model(again.policy.lm)(IDS).logits, want, atol=1e-5)
    adapter = PeftModel.from_pretrained(tiny_llama(size), str(tmp_path / "adapter")).eval()
    assert torch.equal(adapter(IDS).logits, want)


def test_an_adapter_by_itself_is_refused_as_a_model_in_one_line(tmp_path: Path) -> None:
    policy = with_adapters().policy
    policy.save_pretrained(tmp_path, adapter=True)
    (tmp_path / "both").mkdir()
    for file in ("config.json", "model.safetensors", "adapter/adapter_config.json"):
        (tmp_path / "both" / Path(file).name).write_bytes((tmp_path / file).read_bytes())
    for folder in ("adapter", "both"):
        for load in (load_model, load_tokenizer):
            with pytest.raises(ValueError, match="Expected a whole model, got an adapter") as caught:
                load(f"hf:{tmp_path / folder}")
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.model_type)
def test_adapters_merge_into_every_kind_of_linear_layer(config: Any, dtype: torch.dtype, tmp_path: Path) -> None:
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_config(config).to(dtype).eval()
    names, plain = sorted(base.state_dict()), base(IDS).logits.detach()
    model = add_adapters(base, LORA).eval()
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    stir(model, 0.3)
    save_merged(model.get_base_model(), tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert sorted(loaded.state_dict()) == names
    assert loaded.dtype == dtype
    want, got = model(IDS).logits, loaded(IDS).logits
    moved, off = float((want - plain).abs().max().detach()), float((want - got).abs().max().detach())
    assert moved > 0.05
    assert off < (1e-5 if dtype == torch.float32 else moved / 3)


def test_a_model_that_has_adapters_already_is_trained_as_it_is() -> None:
    adapted = get_peft_model(tiny_llama(), LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    made = make(ToyDialogues(2), adapted, policy_kwargs=dict(reference="initial"))
    assert made.policy.reference.adapters_off
    with pytest.raises(ValueError, match=r"leave lora= out"):
        with_adapters(adapted)
    adapted.requires_grad_(False)
    with pytest.raises(ValueError, match="is_trainable=True"):
        make(ToyDialogues(2), adapted)


def test_a_model_that_learned_once_learns_on_with_the_same_adapters_and_refuses_others() -> None:
    model = tiny_llama()
    first = with_adapters(model)
    stir(first.policy.lm)
    assert with_adapters(model).policy.lm is first.policy.lm
    with pytest.raises(ValueError, match="got one with some"):
        with_adapters(model, policy_kwargs=dict(lora=dict(rank=2)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(rank=0), "rank >= 1"),
        (dict(alpha=0), "alpha > 0"),
        (dict(targets=()), "Expected LoRA targets, got none"),
        (dict(targets=["no_such_layer"]), "Expected LoRA targets in the model"),
        (dict(ranks=3), "Expected lora= rank, alpha and targets"),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        make(ToyDialogues(2), tiny_llama(), policy_kwargs=dict(lora=options))
    assert "\n" not in str(caught.value)


def test_an_adapter_alone_cannot_be_saved_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give lora= at the start"):
        make(ToyDialogues(2), tiny_llama()).policy.save_pretrained(tmp_path, adapter=True)


def test_a_policy_of_bfloat16_weights_computes_what_counts_in_float32() -> None:
    made = with_adapters(tiny_llama().bfloat16(), policy_kwargs=dict(reference="initial"))
    stir(made.policy.lm)
    collect(made)
    assert base_model(made.policy.lm).dtype == torch.bfloat16
    sample = next(made.rollout_buffer.get(128))
    values, log_prob, entropy = made.policy.evaluate_actions(sample.observations, sample.actions.flatten())
    assert {values.dtype, log_prob.dtype, entropy.dtype} == {torch.float32}
    assert (log_prob - sample.old_log_prob).abs().max() < 0.1
    assert {p.dtype for group in made.policy.optimizer.param_groups for p in group["params"]} == {torch.float32}
    assert abs(made.rollout_buffer.kl_to_reference()) < 1


def test_the_algorithm_comes_back_with_its_adapters(tmp_path: Path) -> None:
    made = with_adapters(policy_kwargs=dict(micro_batch=512))
    stir(made.policy.lm)
    made.save(tmp_path / "algorithm.zip")
    again = PPO.load(tmp_path / "algorithm.zip", device="cpu")
    found = again.policy.state_dict()
    assert all(torch.equal(weight, found[name]) for name, weight in made.policy.state_dict().items())
