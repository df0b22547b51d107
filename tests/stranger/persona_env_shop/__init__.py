"""What somebody else might add to persona-env: a role, two speakers, a judge, a metric and an algorithm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch

from persona_env.algorithms import Algorithm, Run
from persona_env.conversation import Conversation, View
from persona_env.judges.base import AnswerVsGold, Judge, Query, Verdict
from persona_env.metrics import LineMetric
from persona_env.settings import Setting
from persona_env.speakers.base import Speaker

__all__ = ["SHOPPER", "Keeper", "Keyword", "Politeness", "Shopper", "Sweep"]

SHOPPER = Path(__file__).parent / "shopper"


class Keeper(Speaker):
    """A shop assistant with one question."""

    def __init__(self, *, question: str = "Anything else?"):
        self.question = question

    def reply(self, views: Sequence[View]) -> list[str]:
        """Returns its question to everybody."""
        return [self.question for _ in views]


class Shopper(Speaker):
    """A shopper who thanks for everything, and now and then wants a refund."""

    def __init__(self, name: str):
        self.name = name

    def reply(self, views: Sequence[View]) -> list[str]:
        """Returns a line that depends on the view's seed."""
        return [f"{self.name} wants {'a refund' if view.seed % 4 == 0 else 'shoes, please'}." for view in views]


class Keyword(Judge):
    """Holds a line for inconsistent if a word stands in it."""

    def __init__(self, word: str):
        self.word = word

    def judge(self, queries: Sequence[Query]) -> list[Verdict]:
        """Returns a verdict on each query."""
        texts = [query.answer if isinstance(query, AnswerVsGold) else query.line for query in queries]
        return [Verdict("inconsistent" if self.word in text else "consistent") for text in texts]


class Politeness(LineMetric):
    """Share of lines with a magic word in them."""

    name = "politeness"
    title = "rudeness"
    mark = "rude"
    is_judged = False

    def query(self, conversation: Conversation, index: int) -> Verdict:
        """Returns the verdict on a line: the text settles it."""
        return Verdict("consistent" if "please" in conversation.lines[index] else "inconsistent")


@dataclass(frozen=True, kw_only=True)
class Sweep(Algorithm):
    """Random search: of a few small changes of the output layer it keeps the one that is paid best."""

    name = "sweep"

    tries: Annotated[int, Setting("How many changes to try.", ge=1)] = 2

    @torch.no_grad()
    def fit(self, model: Any, data: Any, run: Run) -> Any:
        """Returns the model with the best of the changes."""
        weight, generator = model.model.lm_head.weight, torch.Generator().manual_seed(run.seed)
        best, kept = self._paid(model, data, run.seed), weight.clone()
        for number in range(self.tries):
            weight.copy_(kept + 0.05 * torch.randn(weight.shape, generator=generator))
            paid = self._paid(model, data, run.seed)
            if paid > best:
                best, kept = paid, weight.clone()
            run.log({"tokens": number + 1, "reward": paid})
        weight.copy_(kept)
        model.reset_cache()
        return model

    def _paid(self, model: Any, envs: Any, seed: int) -> float:
        contexts, _ = envs.reset(seed=seed)
        total = 0.0
        for _ in range(16):
            logits = model.model(torch.as_tensor(contexts, dtype=torch.long)).logits
            last = logits[range(len(contexts)), (contexts != model.tokenizer.pad_token_id).sum(1) - 1]
            last[:, list(model.chat.forbidden_ids)] = -torch.inf
            contexts, rewards, *_ = envs.step(last.argmax(-1).numpy())
            total += float(rewards.sum())
        return total
