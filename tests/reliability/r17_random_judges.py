"""R17: judges with random weights: how often is what they say taken for a verdict?"""

from __future__ import annotations

from collections import Counter

from persona_env.judges import LineVsHistory, Query
from persona_env.judges.content_filter import rejection_reason
from persona_env.judges.label_prob_backend import LabelProbBackend
from persona_env.judges.llm import LLMJudge
from persona_env.judges.prompts import JudgePrompts
from persona_env.testing.samples import sample_queries
from tests.judges.chat_families import FAMILIES, tokenizer
from tests.reliability.rows import Row
from tests.speakers.small import model

JUDGES = 8


def asked() -> list[Query]:
    """Queries of all kinds and roles that the model really has to answer."""
    return [
        query
        for role in ("patient", "student", "chat_partner")
        for query in sample_queries(role)
        if not rejection_reason(query) and not (isinstance(query, LineVsHistory) and len(query.earlier) not in (1, 2))
    ]


def single(backend: LabelProbBackend, queries: list[Query]) -> float:
    """The share that is found consistent if one prompt alone decides."""
    prompts = [JudgePrompts.load().both(q)[0] for q in queries if not isinstance(q, LineVsHistory)]
    return sum(answer.label == "B" for answer in backend.answer(prompts)) / len(prompts)


def measure() -> list[Row]:
    """Asks eight clueless judges, without and with the least probability of a letter."""
    queries, names = asked(), list(FAMILIES)
    shares, alone, shipped = [], [], Counter[str]()
    for seed in range(JUDGES):
        name = names[seed % len(names)]
        weights = model(vocabulary=len(tokenizer(name)), length=4096, seed=seed)
        trusting = LabelProbBackend(weights, tokenizer(name), min_mass=0.0)
        labels = Counter(verdict.label for verdict in LLMJudge(trusting).judge(queries))
        shares.append(labels["consistent"] / len(queries))
        alone.append(single(trusting, queries))
        careful = LLMJudge(LabelProbBackend(weights, tokenizer(name)))
        shipped.update(verdict.label for verdict in careful.judge(queries[::5]))
    total = shipped.total()
    return [
        Row(
            "R17",
            f"{JUDGES} judges with random weights, {len(queries)} queries each",
            "<= 10 % consistent",
            f"at most {max(shares):.1%}, mean {sum(shares) / JUDGES:.1%} (one prompt alone: up to {max(alone):.0%}; as "
            f"shipped: {shipped['consistent'] / total:.1%})",
            met=max(shares) <= 0.1,
        )
    ]
