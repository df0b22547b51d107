"""The base model's shape, and how dialogues become its training examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from persona_env.conversation import Conversation
from persona_env.world.lexicon import ATTRIBUTES
from persona_env.world.tokens import ASSISTANT, CONTEXT, END, PAD, SYSTEM, USER

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

__all__ = ["Example", "build_model", "encoder", "own_tokens_loss", "sharpen", "value_ids"]

Example: TypeAlias = tuple[list[int], list[bool]]
"""The token ids of a dialogue, and which of them are the speaker's own."""


def build_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """Returns an untrained model: Llama, width 128, 2 layers, 4 heads, tied embeddings, float32."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    vocabulary = tokenizer.get_vocab()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        initializer_range=0.08,  # 0.02 learns to look up its persona much later
        bos_token_id=None,
        eos_token_id=vocabulary[END],
        pad_token_id=vocabulary[PAD],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).float()


def sharpen(model: LlamaForCausalLM, factor: float) -> None:
    """Multiplies the model's logits by a factor, in its last norm."""
    import torch

    with torch.no_grad():
        model.model.norm.weight.mul_(factor)


def value_ids(tokenizer: PreTrainedTokenizerFast) -> frozenset[int]:
    """Returns the token ids of the value words."""
    words = {v for role in ATTRIBUTES.values() for a in role.values() for v in a.values}
    vocabulary = tokenizer.get_vocab()
    return frozenset(vocabulary[f"Ġ{word}"] for word in words)


def encoder(tokenizer: PreTrainedTokenizerFast) -> Callable[[Conversation], Example]:
    """Returns a function from a dialogue to its example, as the chat template renders it."""
    vocabulary = tokenizer.get_vocab()
    system, user, assistant, end = (vocabulary[token] for token in (SYSTEM, USER, ASSISTANT, END))
    backend = tokenizer.backend_tokenizer

    @lru_cache(1 << 16)
    def ids_of(text: str) -> list[int]:
        return backend.encode(text, add_special_tokens=False).ids

    def encode(talk: Conversation) -> Example:
        ids = [system, *ids_of(talk.persona.prompt)]
        own = [False] * len(ids)
        for message in talk.messages:
            words, says = ids_of(message.text), message.side == "simulator"
            ids += [assistant, *words, end] if says else [user, *words]
            own += [False, *[says] * (len(words) + says)]
        return ids, own

    return encode


def own_tokens_loss(model: LlamaForCausalLM, batch: Sequence[Example], weights: torch.Tensor) -> torch.Tensor:
    """Returns the mean cross-entropy over the speaker's own tokens; `weights` (V,) says how much each counts."""
    import torch

    width = max(len(ids) for ids, _ in batch)
    tokens = torch.zeros(len(batch), width, dtype=torch.long)
    own = torch.zeros(len(batch), width, dtype=torch.bool)
    for row, (ids, says) in enumerate(batch):
        tokens[row, : len(ids)] = torch.tensor(ids)
        own[row, : len(ids)] = torch.tensor(says)
    hidden = model.model(input_ids=tokens, use_cache=False).last_hidden_state[:, :-1]
    logits, said = model.lm_head(hidden[own[:, 1:]]), tokens[:, 1:][own[:, 1:]]
    return torch.nn.functional.cross_entropy(logits, said, weight=weights)
