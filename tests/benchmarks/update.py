"""Seconds of one update over a rollout, and bytes of its observations.

Against a plain language-model forward and backward over the same tokens, cut in the same slices (target <= 1.0 of it),
and against stable-baselines3's own way, a padded context of 512 for every token (target >= 10 x). Observations are to
take at most 3 times their tokens.

    python -m tests.benchmarks.update
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tests.benchmarks.models import SIZES, best_seconds, llama
from tests.sb3.rollouts import collect, make
from tests.sb3.toys import ToyDialogues

_SHARE = 16  # stable-baselines3's own way is timed on every 16th token


def rollout(context: int) -> tuple[Any, torch.Tensor]:
    """Plays a rollout; returns the algorithm and all its contexts (T * N, context)."""
    envs = ToyDialogues(16, vocabulary=1000, context=context, lines=8, max_tokens=12, prompt=120, reply=20, asks=8)
    algorithm = make(envs, llama(**SIZES["0.7M"]), n_steps=64, batch_size=512)
    contexts = collect(algorithm)
    return algorithm, torch.cat([torch.from_numpy(part) for part in contexts])


def backward(policy: Any, loss: torch.Tensor) -> None:
    """One backward pass from nought."""
    policy.zero_grad()
    loss.backward()


def main() -> None:
    algorithm, contexts = rollout(512)
    policy, buffer = algorithm.policy, algorithm.rollout_buffer
    policy.set_training_mode(True)
    batches = list(buffer.batches(512))
    samples = [buffer.samples(packed) for packed in batches]

    def packed_update() -> None:
        for sample in samples:
            _, log_prob, entropy = policy.evaluate_actions(sample.observations, sample.actions.flatten())
            backward(policy, -(log_prob * sample.advantages).mean() - 0.0 * entropy.mean())

    def plain_language_model() -> None:
        for sample in samples:
            loss = torch.zeros(())
            for part in sample.observations.slices:
                ids = sample.observations.input_ids[part.rows, : part.width]
                labels = ids.masked_fill(ids == 0, -100)
                loss = loss + policy.lm(input_ids=ids, labels=labels, use_cache=False).loss
            backward(policy, loss)

    def naive_update() -> None:
        for sample, packed in zip(samples, batches, strict=True):
            chosen = packed.step[::_SHARE]
            padded = contexts[chosen]
            hidden = policy.lm.model(input_ids=padded.long(), use_cache=False).last_hidden_state
            length = (padded != 0).sum(1)
            logits = policy.lm.lm_head(hidden[torch.arange(len(chosen)), length - 1])
            log_prob = logits.log_softmax(-1).gather(-1, sample.actions[::_SHARE])
            backward(policy, -log_prob.mean())

    packed_update()
    seconds = best_seconds(packed_update, 3)
    share_of_plain = seconds / best_seconds(plain_language_model, 3)
    print(f"update: {share_of_plain:.2f} of a plain forward and backward (target <= 1.0)")
    print(f"update: x{_SHARE * best_seconds(naive_update, 1) / seconds:.0f} stable-baselines3's own (target >= 10)")
    kept = buffer.trajectories
    held = sum(array.nbytes for array in vars(kept).values() if isinstance(array, np.ndarray))
    print(f"observations: {held / (4 * len(kept.tokens)):.2f} of their tokens' bytes (target <= 3)")
    print(f"observations: 1/{contexts.numel() * 4 / held:.0f} of stable-baselines3's own")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
