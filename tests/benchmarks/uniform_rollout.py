"""Tokens per second of `policy.forward` against `model.generate`, where all rows are of one length.

This is generate's own ground: the policy also samples for a loop outside, gives log-probabilities and values, and
works from the contexts alone. Target: >= 1.0.

    python -m tests.benchmarks.uniform_rollout [0.7M 33M 170M]
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from gymnasium import spaces

from persona_env.sb3 import TokenPolicy
from persona_env.spaces import TokenContext
from tests.benchmarks.models import SIZES, llama, times_as_fast

ROWS, PROMPT, NEW = 8, 256, 64
ROUNDS = {"0.7M": 31, "33M": 5, "170M": 3}  # how often each is run


def ratio(size: str) -> float:
    """Returns generate's seconds through the policy's."""
    model = llama(**SIZES[size])
    vocabulary = model.config.vocab_size
    space = TokenContext(vocabulary, PROMPT + NEW + 1, 0)
    policy = TokenPolicy(space, spaces.Discrete(vocabulary), lambda _: 1e-4, model=model)
    policy.set_training_mode(False)
    prompt = torch.from_numpy(np.random.default_rng(0).integers(1, vocabulary, (ROWS, PROMPT)))
    contexts = torch.zeros(ROWS, PROMPT + NEW + 1, dtype=torch.int32)

    def by_policy() -> None:
        policy.clear_cache()
        contexts[:, :PROMPT] = prompt
        contexts[:, PROMPT:] = 0
        for step in range(PROMPT, PROMPT + NEW):
            with torch.no_grad():
                contexts[:, step] = policy(contexts)[0].int()

    def by_generate() -> None:
        mask = torch.ones_like(prompt)
        model.generate(prompt, attention_mask=mask, do_sample=True, top_k=0, max_new_tokens=NEW, min_new_tokens=NEW)

    by_policy()
    return times_as_fast(by_policy, by_generate, ROUNDS[size])


def main(sizes: list[str]) -> None:
    for size in sizes:
        print(f"uniform rollout, {size}: x{ratio(size):.2f} generate's tokens per second (target >= 1.0)", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1:] or list(SIZES))
