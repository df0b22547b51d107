"""Train low-rank adapters on a Hugging Face chat model, save it as an ordinary model, and load it again.

Run: python examples/05_train_lora.py [hf:<folder or hub id>]

Without a model, a small Llama with random weights and the embedded world's words is made on the spot. It
learns next to nothing in three rollouts; every step is that of a real one.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import gymnasium as gym
from stable_baselines3 import PPO
from transformers import LlamaConfig, LlamaForCausalLM

import persona_env  # noqa: F401  (registers the ids)
import persona_wrappers as pw
from persona_env.evaluation.eval_suite import EvalSuite
from persona_env.evaluation.rollout import play
from persona_env.sb3 import LoraOptions, TokenPolicy, TrajectoryRolloutBuffer, as_sb3
from persona_env.speakers import load_speaker
from persona_env.speakers.local import LanguageModel, load_tokenizer


def make_model(folder: Path) -> str:
    """Saves a Llama that knows the embedded world's words and nothing else; returns its spec."""
    tokenizer: Any = load_tokenizer("tiny")
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    LanguageModel(LlamaForCausalLM(config), tokenizer).save_pretrained(folder)
    return f"hf:{folder}"


def main(spec: str, out: Path, rollouts: int = 3) -> None:
    """Trains adapters on the model that `spec` names, and writes the merged model to `out`."""
    envs = gym.make_vec("persona_env/PatientTokens-v0", num_envs=8, simulator=spec, max_lines=3, max_tokens=16)
    envs = pw.vector.ConsistencyRewards(envs, judge="oracle", prompt_to_line=1.0, relevance=0.5)
    model = PPO(
        TokenPolicy,
        as_sb3(envs),
        n_steps=64,
        batch_size=256,
        n_epochs=1,
        learning_rate=1e-3,
        gamma=1.0,
        rollout_buffer_class=TrajectoryRolloutBuffer,
        policy_kwargs=dict(model=spec, lora=LoraOptions(rank=8), reference="initial", micro_batch=4096),
        seed=0,
    )
    model.learn(rollouts * 64 * 8, progress_bar=sys.stdout.isatty())
    policy = model.policy
    assert isinstance(policy, TokenPolicy)
    trained = sum(parameter.numel() for parameter in policy.lm.parameters() if parameter.requires_grad)
    print(f"{trained:,} of {sum(p.numel() for p in policy.lm.parameters()):,} weights were trained.")
    policy.save_pretrained(out, adapter=True)  # a merged model, and the adapter alone in adapter/
    talk = play(load_speaker(f"hf:{out}"), EvalSuite(role="patient", split="dev", dialogues=1, lines=2))[0].conversation
    print("\n".join(message.text for message in talk.messages))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as drawer:
        main(sys.argv[1] if len(sys.argv) > 1 else make_model(Path(drawer) / "base"), Path(drawer) / "trained")
