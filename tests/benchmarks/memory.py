"""Memory of one update, with and without limits, and what the limits cost in time.

Bytes of tensors that stand at once in the forward and backward pass of one minibatch (weights and what a rollout keeps
not counted), as a ratio to one unbounded pass.

    python -m tests.benchmarks.memory
"""

from __future__ import annotations

from typing import Any

import torch

from persona_env.rl.packed_forward import MemoryLimits
from persona_env.sb3 import LoraOptions
from tests.benchmarks.models import best_seconds, llama
from tests.sb3.peak import peak_bytes
from tests.sb3.rollouts import collect, make
from tests.sb3.toys import ToyDialogues

UNBOUNDED = MemoryLimits(logits=2**40)


def learner(vocabulary: int, width: int, layers: int) -> tuple[Any, Any]:
    """Plays a rollout; returns the algorithm with adapters, and one minibatch of about 512 choices."""
    model = llama(vocab_size=vocabulary, hidden_size=width, num_hidden_layers=layers, num_attention_heads=8)
    envs = ToyDialogues(16, vocabulary=vocabulary, context=256, lines=8, max_tokens=12, prompt=60, reply=20)
    made = make(envs, model, n_steps=32, batch_size=512, policy_kwargs=dict(lora=LoraOptions(rank=8)))
    collect(made)
    made.policy.set_training_mode(True)
    return made, next(made.rollout_buffer.get(512))


def measured(made: Any, sample: Any, limits: MemoryLimits) -> tuple[int, float]:
    """Returns the bytes and the seconds of one forward and backward pass."""
    made.policy.limits = limits

    def update() -> None:
        made.policy.zero_grad()
        values, log_prob, _ = made.policy.evaluate_actions(sample.observations, sample.actions.flatten())
        (-(log_prob * sample.advantages).mean() + values.square().mean()).backward()

    return peak_bytes(update), best_seconds(update, 2)


def main() -> None:
    made, sample = learner(2000, 256, 8)
    tokens = sample.observations.input_ids.numel()
    most, seconds = measured(made, sample, UNBOUNDED)
    print(f"memory: {most / 2**20:.0f} MiB for {len(sample.actions)} choices in {tokens} tokens, all kept")
    for name, limits, target in (
        ("micro_batch", MemoryLimits(tokens=512), " (target <= 0.33, time <= 2)"),
        ("gradient_checkpointing", MemoryLimits(layers=True), ""),
        ("both", MemoryLimits(tokens=512, layers=True), ""),
    ):
        found, took = measured(made, sample, limits)
        print(f"memory: {found / most:.2f} of it with {name}, in x{took / seconds:.2f} the time{target}")
    made, sample = learner(151_936, 64, 2)
    most, seconds = measured(made, sample, UNBOUNDED)
    found, took = measured(made, sample, MemoryLimits())
    told = f"{found / most:.2f} of {most / 2**20:.0f} MiB with 151,936 ids, in x{took / seconds:.2f} the time"
    print(f"memory: {told} (target <= 0.25)")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
