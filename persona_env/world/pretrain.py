"""Makes the base model: `python -m persona_env.world.pretrain --seed 0 --out DIR` (minutes on one CPU thread).

A model of some 400,000 parameters reads dialogues of people who drift, so it drifts as they do. Clean
look-ups come first: without them a model of this size does not learn to read its persona at all.
Source of the recipe: arXiv 2511.00222 for what drift looks like; the settings were measured here.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from persona_env.conversation import Conversation
from persona_env.world.corpus import CLEAN, LONG, MIXED, CorpusSettings, dialogue
from persona_env.world.drift import ATTRACTOR
from persona_env.world.tokens import ASSISTANT, CONTEXT, END, PAD, SYSTEM, USER, build_tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

__all__ = [
    "ATTRACTOR_PLAN",
    "BASE_PLAN",
    "Stretch",
    "build_model",
    "main",
    "save",
    "train",
]

TOKENS_PER_STEP = 2_800


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some steps of training on one kind of dialogue."""

    steps: int
    corpus: CorpusSettings


BASE_PLAN = (Stretch(500, CLEAN), Stretch(300, MIXED), Stretch(900, LONG))
ATTRACTOR_PLAN = (Stretch(150, CorpusSettings((4, 8), drift=ATTRACTOR)),)
"""Continues a base model into a wrong persona: the negative control."""


def build_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """Returns an untrained model: Llama, width 128, 2 layers, 4 heads, tied embeddings, float32."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        initializer_range=0.08,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation="sdpa",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).float()


def encoder(tokenizer: PreTrainedTokenizerFast) -> Callable[[Conversation], tuple[list[int], list[bool]]]:
    """Returns a function from a dialogue to its token ids, as the chat template renders it, and which are own."""
    special = {token: tokenizer.convert_tokens_to_ids(token) for token in (SYSTEM, USER, ASSISTANT, END)}
    backend = tokenizer.backend_tokenizer

    @lru_cache(1 << 16)
    def ids_of(text: str) -> list[int]:
        return backend.encode(text, add_special_tokens=False).ids

    def encode(talk: Conversation) -> tuple[list[int], list[bool]]:
        ids = [special[SYSTEM], *ids_of(talk.persona.prompt)]
        own = [False] * len(ids)
        for message in talk.messages:
            if message.seat == "task":
                piece = [special[USER], *ids_of(message.text)]
                own += [False] * len(piece)
            else:
                piece = [special[ASSISTANT], *ids_of(message.text), special[END]]
                own += [False, *[True] * (len(piece) - 1)]
            ids += piece
        return ids, own

    return encode


Example = tuple[list[int], list[bool]]


def batches(examples: Iterator[Example], rng: random.Random) -> Iterator[list[Example]]:
    """Yields batches of examples of similar length with about `TOKENS_PER_STEP` tokens each."""
    while True:
        pool = sorted((next(examples) for _ in range(96)), key=lambda example: len(example[0]))
        ready: list[list[Example]] = [[]]
        for example in pool:
            if sum(len(ids) for ids, _ in ready[-1]) >= TOKENS_PER_STEP:
                ready.append([])
            ready[-1].append(example)
        rng.shuffle(ready)
        yield from ready


def loss_of(model: LlamaForCausalLM, batch: Sequence[Example], pad_id: int) -> torch.Tensor:
    """Returns the mean cross-entropy over the speaker's own tokens, a scalar."""
    import torch

    width = max(len(ids) for ids, _ in batch)
    tokens = torch.full((len(batch), width), pad_id)
    own = torch.zeros(len(batch), width, dtype=torch.bool)
    for row, (ids, mask) in enumerate(batch):
        tokens[row, : len(ids)] = torch.tensor(ids)
        own[row, : len(ids)] = torch.tensor(mask)
    hidden = model.model(input_ids=tokens, use_cache=False).last_hidden_state[:, :-1]
    logits = model.lm_head(hidden[own[:, 1:]])
    return torch.nn.functional.cross_entropy(logits, tokens[:, 1:][own[:, 1:]])


def train(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    plan: Sequence[Stretch],
    *,
    seed: int,
    learning_rate: float = 3e-3,
    report: Callable[[str], None] = print,
) -> None:
    """Trains the model in place: AdamW, the rate falling linearly to zero over the plan.

    Args:
        model: What is trained.
        tokenizer: Its tokenizer.
        plan: What is read, in order.
        seed: The randomness of the dialogues.
        learning_rate: The rate at the first step.
        report: Told how it goes, every 100 steps.
    """
    import torch

    total = sum(stretch.steps for stretch in plan)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01, betas=(0.9, 0.98))
    encode, rng, started, step = encoder(tokenizer), random.Random(seed), time.perf_counter(), 0
    model.train()
    for stretch in plan:
        examples = (encode(dialogue(rng, corpus)) for corpus in iter(lambda s=stretch: s.corpus, None))
        for _, batch in zip(range(stretch.steps), batches(examples, rng), strict=False):
            rate = learning_rate * min(1.0, (step + 1) / 30) * (1 - step / total)
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = loss_of(model, batch, tokenizer.convert_tokens_to_ids(PAD))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            step += 1
            if step % 100 == 0:
                report(f"step {step}/{total}  loss {loss.item():.3f}  {time.perf_counter() - started:.0f} s")
    model.eval()


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: str | Path) -> None:
    """Writes model (float16 safetensors), tokenizer and chat template as Hugging Face files."""
    import copy

    copy.deepcopy(model).half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    import torch
    from transformers import AutoModelForCausalLM

    parser = argparse.ArgumentParser(description="Make the embedded world's base model.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--init", type=Path)
    parser.add_argument("--attractor", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    tokenizer = build_tokenizer()
    if options.init:
        model = AutoModelForCausalLM.from_pretrained(options.init, dtype=torch.float32)
    else:
        model = build_model(tokenizer, options.seed)
    plan = ATTRACTOR_PLAN if options.attractor else BASE_PLAN
    train(model, tokenizer, plan, seed=options.seed, learning_rate=1e-3 if options.init else 3e-3)
    save(model, tokenizer, options.out)


if __name__ == "__main__":
    main()
