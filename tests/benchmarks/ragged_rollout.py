"""Tokens per second of a ragged multi-turn rollout: the policy, a padded DynamicCache, the naive policy.

All three read the same contexts of 32 dialogues: rows grow by a token or by a reply, are cut back after
a side question, and start anew. Targets: >= 3 x the padded cache, >= 10 x the naive full forward.

    python -m tests.benchmarks.ragged_rollout
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from persona_env.rl.packed_forward import ChoicePositions, choice_logits
from persona_env.sb3 import TokenPolicy
from persona_env.spaces import TokenContext
from tests.benchmarks.models import SIZES, best_seconds, llama
from tests.sb3.toys import ToyDialogues

STEPS = 48


class PaddedCachePolicy:
    """What one writes first: a DynamicCache that all rows share, padded to the row with the most new tokens."""

    def __init__(self, model: Any, pad_id: int):
        self.model, self.pad_id = model, pad_id
        self.clear_cache()

    def clear_cache(self) -> None:
        self.cache, self.ids = DynamicCache(), torch.empty(0, 0, dtype=torch.long)
        self.mask, self.read = torch.empty(0, 0, dtype=torch.long), torch.empty(0, dtype=torch.long)

    @torch.no_grad()
    def __call__(self, contexts: torch.Tensor) -> torch.Tensor:
        """Returns the logits after each context."""
        ids = contexts.long()
        length, column = (ids != self.pad_id).sum(1), torch.arange(ids.shape[1])
        if not len(self.ids):
            self.ids, self.read = torch.zeros_like(ids), torch.zeros_like(length)
            self.mask = torch.zeros(len(ids), 0, dtype=torch.long)
        same = ((self.ids == ids) | (column >= self.read[:, None])).all(1) & (length > self.read)
        self.mask[~same] = 0
        start = torch.where(same, self.read, 0)
        width = int((length - start).max())
        offset = column[:width] - (width - (length - start))[:, None]
        real = offset >= 0
        position = (start[:, None] + offset).clamp(min=0)
        self.mask = torch.cat([self.mask, real.long()], 1)
        logits = self.model(
            input_ids=torch.where(real, ids.gather(1, position), self.pad_id),
            attention_mask=self.mask,
            position_ids=position,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        self.ids, self.read = ids.clone(), length
        if self.mask.shape[1] > 1.5 * int(length.max()) + 32:
            self._compact(int(length.max()))
        return logits

    def _compact(self, length: int) -> None:
        kept = torch.argsort(self.mask, dim=1, stable=True)[:, -length:]
        self.mask = self.mask.gather(1, kept)
        for layer in self.cache.layers:
            assert isinstance(layer, DynamicLayer)
            assert layer.keys is not None
            assert layer.values is not None
            index = kept[:, None, :, None].expand(-1, layer.keys.shape[1], -1, layer.keys.shape[3])
            layer.keys, layer.values = layer.keys.gather(2, index), layer.values.gather(2, index)


def recorded_contexts(vocabulary: int) -> list[torch.Tensor]:
    """Plays dialogues of random words: about 90 tokens of persona, replies of up to 20, lines of up to 8."""
    envs = ToyDialogues(32, vocabulary=vocabulary, context=640, lines=8, max_tokens=8, prompt=90, reply=20, asks=4)
    rng, found = np.random.default_rng(0), []
    observation, _ = envs.reset(seed=0)
    for step in range(STEPS + 64):
        if step >= 64:  # by then the rows are at different places of their dialogues
            found.append(torch.from_numpy(observation))
        words = rng.integers(2, vocabulary, 32)
        observation, *_ = envs.step(np.where(rng.random(32) < 0.12, 1, words))
    return found


def main() -> None:
    model = llama(**SIZES["0.7M"])
    vocabulary = model.config.vocab_size
    contexts = recorded_contexts(vocabulary)
    space = TokenContext(vocabulary, contexts[0].shape[1], 0)
    policy = TokenPolicy(space, spaces.Discrete(vocabulary), lambda _: 1e-4, model=model)
    padded = PaddedCachePolicy(model, 0)

    def by_policy() -> None:
        policy.clear_cache()
        with torch.no_grad():
            for context in contexts:
                policy(context)

    def by_padded_cache() -> None:
        padded.clear_cache()
        for context in contexts:
            padded(context)

    def naive() -> None:
        with torch.no_grad():
            for context in contexts[::8]:
                length = (context != 0).sum(1)
                row = torch.arange(len(context))
                choice_logits(model, ChoicePositions(context[:, : int(length.max())].long(), row, length - 1))

    by_policy()
    seconds = best_seconds(by_policy, 3)
    print(f"ragged rollout: x{best_seconds(by_padded_cache, 2) / seconds:.1f} a padded DynamicCache (target >= 3)")
    full = best_seconds(naive, 1) * len(contexts) / len(contexts[::8])
    print(f"ragged rollout: x{full / seconds:.1f} a naive full forward (target >= 10)")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
