"""A language model as a judge: content floor, closed answers, and two queries that must agree."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from persona_env.errors import InputError, RunEnded
from persona_env.judges.backend import Answer, JudgeBackend, JudgePrompt
from persona_env.judges.base import Label, LineVsHistory, LineVsPersona, LineVsPrevious, Query, Verdict
from persona_env.judges.content_filter import rejection_reason
from persona_env.judges.prompts import JudgePrompts
from persona_env.roles import ROLES

__all__ = ["JUDGE_VERSION", "LLMJudge"]

JUDGE_VERSION = 1
"""Part of a judge's identity: another one where the floor, the filling, the reading or the combination change."""

_SHOWN = 2000
_PROBABILITY = 4

_Pair: TypeAlias = tuple[JudgePrompt, JudgePrompt]


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is asked about a question: nothing where the verdict is known, else pairs of queries."""

    verdict: Verdict | None = None
    pairs: tuple[_Pair, ...] = ()


class LLMJudge:
    """Turns the answers of a language model into verdicts, fail-closed.

    - What is below the content floor is `inconsistent` and never asked.
    - Everything else is asked twice, of opposite polarity. Only two answers that agree are a verdict; the rest
      is `invalid`.
    - Against earlier lines, a model that can list numbers lists the lines in conflict, then the compatible ones:
      `consistent` if there is no conflict and all are compatible, `inconsistent` if the lists complement each
      other, else `invalid`. A model that cannot is asked about each earlier line; one answer that cannot be
      trusted makes the whole `invalid`.
    - `probability` is the mean of what both queries give for `consistent`; against earlier lines, the lowest of
      these means. It is None where a query gives none.

    A fixed answer, whoever dictated it, contradicts itself here. Persuasion by what a line says is limited by the
    second query, not stopped.

    Args:
        asker: The model.
        prompts: What it is asked; ours if None.

    Example:
        `LLMJudge(LabelProbBackend.load("some/model")).judge([LineVsPersona(persona, "I sleep well.")])`
    """

    def __init__(self, asker: JudgeBackend, prompts: JudgePrompts | None = None):
        self.asker, self.prompts = asker, prompts or JudgePrompts.load()

    @property
    def identity(self) -> Mapping[str, Any]:
        """Everything that can change a verdict, as plain data."""
        return {
            "judge": "llm",
            "ladder": JUDGE_VERSION,
            "prompts": self.prompts.digest,
            "asker": dict(self.asker.identity),
        }

    @property
    def usage(self) -> Any:
        """What the model has used so far."""
        return self.asker.usage

    def judge(self, questions: Sequence[Query]) -> list[Verdict]:
        """Returns the verdicts, in order; the model is called once for all questions.

        Raises:
            RunEnded: If the model cannot be asked any more; `answered` has the verdicts there are, by place.
        """
        plans = [self._plan(question) for question in questions]
        queries = [query for plan in plans for pair in plan.pairs for query in pair]
        try:
            answers = self.asker.ask(queries) if queries else []
        except RunEnded as error:  # an outage: what was answered by then is not lost
            found: Mapping[int, Answer] = getattr(error, "answers", None) or {}
            error.answered = _verdicts(questions, plans, found)  # pyright: ignore[reportAttributeAccessIssue]
            raise
        if len(answers) != len(queries):
            raise InputError(f"Expected {len(queries)} answers, got {len(answers)}: answer each query, in order.")
        return list(_verdicts(questions, plans, dict(enumerate(answers))).values())

    def __repr__(self) -> str:
        return f"LLMJudge({self.asker!r})"

    def _plan(self, question: Query) -> _Plan:
        reason = rejection_reason(question)
        if reason:
            return _Plan(Verdict("inconsistent", reason=reason))
        role = question.persona.role if isinstance(question, LineVsPersona | LineVsPrevious) else question.role
        if role not in self.prompts.system and role not in ROLES:
            return _Plan(Verdict("invalid", reason=f"there are no judge prompts for the role {role!r:.40}"))
        if isinstance(question, LineVsHistory):
            if not question.earlier:
                return _Plan(Verdict("consistent", reason="there is no earlier line"))
            if not self.asker.lists:
                return _Plan(pairs=tuple(self.prompts.pair_queries(question)))
        return _Plan(pairs=(self.prompts.queries(question),))


def _verdicts(questions: Sequence[Query], plans: Sequence[_Plan], answers: Mapping[int, Answer]) -> dict[int, Verdict]:
    """Returns the verdict of each question whose queries are all answered, by place."""
    verdicts, end = dict[int, Verdict](), 0
    for place, (question, plan) in enumerate(zip(questions, plans, strict=True)):
        start, end = end, end + 2 * len(plan.pairs)
        found = [answers[i] for i in range(start, end) if i in answers]
        if len(found) == end - start:
            verdicts[place] = plan.verdict or _verdict(question, plan, found)
    return verdicts


def _verdict(question: Query, plan: _Plan, answers: Sequence[Answer]) -> Verdict:
    """Combines the answers to the pairs of queries of one question."""
    raw = json.dumps([answer.raw[:_SHOWN] for answer in answers])
    problem = next((answer.problem for answer in answers if answer.problem), "")
    if problem:
        lost = any(answer.lost for answer in answers)
        return Verdict("invalid", reason=f"the reply {problem}", raw=raw, lost=lost)
    if isinstance(question, LineVsHistory) and plan.pairs[0][0].items:
        return _listed(answers[0], answers[1], len(question.earlier), raw)
    found = [_agreed(against, favour) for against, favour in zip(answers[::2], answers[1::2], strict=True)]
    chances = [_chance(against, favour) for against, favour in zip(answers[::2], answers[1::2], strict=True)]
    known = [chance for chance in chances if chance is not None]
    probability = round(min(known), _PROBABILITY) if len(known) == len(chances) else None
    if "invalid" in found:
        return Verdict("invalid", (), "the two answers contradict each other", probability, raw)
    conflicts = tuple(i for i, label in enumerate(found) if label == "inconsistent")
    if not conflicts:
        return Verdict("consistent", (), "", probability, raw)
    return Verdict("inconsistent", conflicts if isinstance(question, LineVsHistory) else (), "", probability, raw)


def _agreed(against: Answer, favour: Answer) -> Label:
    bad, good = against.label == "A", favour.label == "A"
    return "invalid" if bad == good else "inconsistent" if bad else "consistent"


def _chance(against: Answer, favour: Answer) -> float | None:
    """Returns the mean probability of `consistent` over the two queries."""
    if against.probability is None or favour.probability is None:
        return None
    first = against.probability if against.label == "B" else 1 - against.probability
    second = favour.probability if favour.label == "A" else 1 - favour.probability
    return (first + second) / 2


def _listed(against: Answer, favour: Answer, earlier: int, raw: str) -> Verdict:
    """Combines a list of the lines in conflict with one of the compatible lines."""
    conflicts, compatible = against.numbers, favour.numbers
    if conflicts is None or compatible is None:
        return Verdict("invalid", reason="the reply lists no numbers", raw=raw)
    if conflicts & compatible or len(conflicts) + len(compatible) != earlier:
        return Verdict("invalid", reason="the two lists do not complement each other", raw=raw)
    places = tuple(sorted(number - 1 for number in conflicts))
    return Verdict("inconsistent" if places else "consistent", places, raw=raw)
