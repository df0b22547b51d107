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
    """Questions of all kinds and roles that the model really has to answer."""
    return [
        question
        for role in ("patient", "student", "chat_partner")
        for question in sample_queries(role)
        if not rejection_reason(question)
        and not (isinstance(question, LineVsHistory) and len(question.earlier) not in (1, 2))
    ]


def single(asker: LabelProbBackend, questions: list[Query]) -> float:
    """The share that is found consistent where one query alone decides."""
    queries = [JudgePrompts.load().queries(q)[0] for q in questions if not isinstance(q, LineVsHistory)]
    return sum(answer.label == "B" for answer in asker.ask(queries)) / len(queries)


def measure() -> list[Row]:
    """Asks eight judges without a clue, with the ladder alone and as they are shipped."""
    questions, names = asked(), list(FAMILIES)
    shares, alone, shipped = [], [], Counter[str]()
    for seed in range(JUDGES):
        name = names[seed % len(names)]
        weights = model(vocabulary=len(tokenizer(name)), length=4096, seed=seed)
        trusting = LabelProbBackend(weights, tokenizer(name), least=0.0)
        labels = Counter(verdict.label for verdict in LLMJudge(trusting).judge(questions))
        shares.append(labels["consistent"] / len(questions))
        alone.append(single(trusting, questions))
        careful = LLMJudge(LabelProbBackend(weights, tokenizer(name)))
        shipped.update(verdict.label for verdict in careful.judge(questions[::5]))
    total = shipped.total()
    return [
        Row(
            "R17",
            f"{JUDGES} judges with random weights, {len(questions)} questions each",
            "<= 10 % consistent",
            f"at most {max(shares):.1%}, mean {sum(shares) / JUDGES:.1%} (one query alone: up to {max(alone):.0%}; as "
            f"shipped: {shipped['consistent'] / total:.1%})",
            met=max(shares) <= 0.1,
        )
    ]
