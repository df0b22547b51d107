"""Makes the base model: `python -m persona_env.world.pretrain --seed 0 --out DIR`, about ten minutes on one thread.

It is trained on dialogues of drifting speakers, after some without drift in which the values count more in the loss:
otherwise a model of this size does not learn to read its persona in any reasonable time.

Measured on heldout personas, 8 lines, three seeds (patient / student / chat partner): 34 / 31 / 35 % of the lines
contradict the persona, 37 / 34 / 35 % an earlier line, and 35 / 37 / 42 % of the questions are answered wrong.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING

from persona_env.errors import InputError
from persona_env.world.base_model import Example, build_model, encoder, own_tokens_loss, sharpen, value_ids
from persona_env.world.corpus import CLEAN, LONG, CorpusSettings, dialogue
from persona_env.world.drift import ATTRACTOR, RECKLESS_OPENING
from persona_env.world.tokens import build_tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

__all__ = ["BASE_PLAN", "FURTHER_PLANS", "Plan", "Stretch", "main", "pretrain", "train"]

TOKENS_PER_STEP = 1_400
POOL = 96
WARM_UP_STEPS = 30
SHARPNESS = 1.1
"""The factor of a new base model's logits: improbable words in the tail of its softmax put two lines in a hundred
outside the grammar; at 1.1 it is one in two hundred (measured)."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some steps of training on one kind of dialogue; in the loss a value word counts `value_weight`, others 1."""

    steps: int
    corpus: CorpusSettings
    value_weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """The dialogues of a training, in order, and its learning rates at the start: Muon's and AdamW's."""

    stretches: tuple[Stretch, ...]
    matrix_rate: float = 0.01
    rate: float = 6e-3

    @property
    def steps(self) -> int:
        """The steps of all stretches."""
        return sum(stretch.steps for stretch in self.stretches)


BASE_PLAN = Plan((Stretch(2_000, CLEAN, 5.0), Stretch(4_000, LONG)))
FURTHER_PLANS = {
    "attractor": Plan((Stretch(300, CorpusSettings((4, 8), drift=ATTRACTOR)),), matrix_rate=2e-3, rate=1e-3),
    "reckless-opening": Plan(
        (Stretch(900, CorpusSettings((3, 8), drift=RECKLESS_OPENING)),), matrix_rate=6e-3, rate=3e-3
    ),
}
"""Further training of a base model: into one wrong persona (the negative control), and into a reckless first line
(credit across lines)."""


def _batches(examples: Iterator[Example], rng: random.Random) -> Iterator[list[Example]]:
    """Yields batches of examples of similar length with about `TOKENS_PER_STEP` tokens each."""
    while True:
        pool = sorted((next(examples) for _ in range(POOL)), key=lambda example: len(example[0]))
        ready: list[list[Example]] = [[]]
        for example in pool:
            if sum(len(ids) for ids, _ in ready[-1]) >= TOKENS_PER_STEP:
                ready.append([])
            ready[-1].append(example)
        rng.shuffle(ready)
        yield from ready


def _optimizers(model: LlamaForCausalLM, plan: Plan) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers (half the steps that AdamW takes, measured), AdamW for the rest."""
    import torch

    if not hasattr(torch.optim, "Muon"):
        raise RuntimeError(f"Expected torch >= 2.9 for Muon, got {torch.__version__}: upgrade it to pretrain.")
    layers = [p for p in model.model.layers.parameters() if p.ndim == 2]
    inside = {id(parameter) for parameter in layers}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in inside]
    muon = torch.optim.Muon(layers, lr=plan.matrix_rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    return [muon, torch.optim.AdamW(rest, lr=plan.rate, betas=(0.9, 0.98))]


def _stream(plan: Plan, tokenizer: PreTrainedTokenizerFast, seed: int) -> Iterator[tuple[list[Example], torch.Tensor]]:
    """Yields, for each step of the plan, the batch and the (V,) weights of the tokens."""
    import torch

    encode, rng, values = encoder(tokenizer), random.Random(seed), sorted(value_ids(tokenizer))
    for stretch in plan.stretches:
        weights = torch.ones(len(tokenizer))
        weights[values] = stretch.value_weight
        batches = _batches(map(encode, map(dialogue, repeat(rng), repeat(stretch.corpus))), rng)
        yield from ((next(batches), weights) for _ in range(stretch.steps))


def train(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    plan: Plan,
    *,
    seed: int,
    report: Callable[[str], None] = print,
) -> None:
    """Trains the model in place, on its own tokens only; `report` gets a line of progress every 100 steps."""
    import torch

    optimizers, started = _optimizers(model, plan), time.perf_counter()
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    model.train()
    for step, (batch, weights) in enumerate(_stream(plan, tokenizer, seed), 1):
        for group in groups:
            group.setdefault("highest", group["lr"])
            group["lr"] = group["highest"] * min(step / WARM_UP_STEPS, 1 - (step - 1) / plan.steps)
        loss = own_tokens_loss(model, batch, weights)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        if step % 100 == 0:
            report(f"{step}/{plan.steps}  {loss.item():.3f}  {time.perf_counter() - started:.0f} s")
    model.eval()


def _load(folder: Path) -> LlamaForCausalLM:
    from transformers import LlamaForCausalLM

    from persona_env.speakers.local import load_model

    model = load_model(f"hf:{folder}")
    if not isinstance(model, LlamaForCausalLM):
        kind = type(model).__name__
        raise InputError(f"Expected a base model in {folder}, got a {kind}: make one with this command.")
    return model.float()


def pretrain(out: Path, *, seed: int, init: Path | None = None, plan: Plan = BASE_PLAN) -> None:
    """Makes a base model, or trains that of the folder `init` further, and writes it in float16 with its tokenizer."""
    tokenizer = build_tokenizer()
    model = _load(init) if init else build_model(tokenizer, seed)
    train(model, tokenizer, plan, seed=seed)
    if not init:
        sharpen(model, SHARPNESS)
    model.half().save_pretrained(out)
    tokenizer.save_pretrained(out)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    import torch

    parser = argparse.ArgumentParser(description="Make the embedded world's base model.")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--init", type=Path, help="the folder of a model to go on with")
    parser.add_argument("--drift", choices=list(FURTHER_PLANS), help="go on into another drift")
    options = parser.parse_args(arguments)
    if options.drift and not options.init:
        parser.error("Expected --init DIR with --drift, got none: name the base model.")
    torch.set_num_threads(1)
    plan = FURTHER_PLANS[options.drift] if options.drift else BASE_PLAN
    pretrain(options.out, seed=options.seed, init=options.init, plan=plan)


if __name__ == "__main__":
    main()
