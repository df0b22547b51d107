"""A language model as a judge: a content filter, closed answers, and two prompts whose answers must agree."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from persona_env.errors import InputError
from persona_env.judges.backend import JudgeAnswer, JudgeBackend, JudgePrompt
from persona_env.judges.base import Judge, Label, LineVsHistory, LineVsQuestion, Query, Verdict
from persona_env.judges.content_filter import rejection_reason
from persona_env.judges.prompts import JudgePrompts

__all__ = ["JUDGE_VERSION", "LLMJudge"]

JUDGE_VERSION = 2
"""Part of a judge's identity; raised where the filter, the filled prompts, the reading or the combination change."""

_MAX_RAW = 2000  # characters of a reply that a verdict keeps


class LLMJudge(Judge):
    """Turns the answers of a language model into verdicts, fail-closed.

    - What the content filter rejects is `inconsistent` and never asked.
    - Everything else is asked twice, with opposite polarity. Only two answers that agree are a verdict; two that
      contradict each other are `undecided`, and with an answer that cannot be read or never came it is `invalid`.
    - Against earlier lines, a model that can list numbers lists the lines in conflict, then the compatible ones, which
      must complement each other. One that cannot is asked about each earlier line.
    - Whether a question is dodged takes two pairs: what was said asks for something that the persona states, and the
      line answers it. Where the first says no, there is nothing to judge.
    - `probability` is the mean of what both answers give for `consistent`; against earlier lines, the lowest mean.

    Persuasion by what a line says is limited by the second prompt, not stopped.

    Example:
        `load_judge("hf:some/model").judge([LineVsPersona(persona, "I sleep well.")])`
    """

    def __init__(self, backend: JudgeBackend, prompts: JudgePrompts | None = None):
        self.backend, self.prompts = backend, prompts or JudgePrompts.load()
        self.parts, self.is_remote = (backend,), backend.is_remote

    @property
    def identity(self) -> Mapping[str, Any]:
        """The version, the prompts and the backend."""
        backend = dict(self.backend.identity)
        return {"judge": "llm", "version": JUDGE_VERSION, "prompts": self.prompts.digest, "backend": backend}

    def judge(self, queries: Sequence[Query]) -> list[Verdict]:
        """Returns the verdicts, in order; the model is called once for all queries."""
        plans = [self._plan(query) for query in queries]
        prompts = [prompt for plan in plans if isinstance(plan, list) for pair in plan for prompt in pair]
        answers = self.backend.answer(prompts) if prompts else []
        if len(answers) != len(prompts):
            raise InputError(f"Expected {len(prompts)} answers, got {len(answers)}: answer each prompt, in order.")
        verdicts, rest = list[Verdict](), iter(answers)
        for query, plan in zip(queries, plans, strict=True):
            if isinstance(plan, list):
                plan = _verdict(query, plan, list(islice(rest, 2 * len(plan))))
            verdicts.append(plan)
        return verdicts

    def _plan(self, query: Query) -> Verdict | list[tuple[JudgePrompt, JudgePrompt]]:
        """Returns a verdict that is known already, or the pairs of prompts that decide."""
        reason = rejection_reason(query)
        if reason and not isinstance(query, LineVsQuestion):
            return Verdict("inconsistent", reason=reason, is_asked=False)
        if query.role not in self.prompts:
            return Verdict("invalid", reason=f"there are no judge prompts for the role {query.role!r:.40}")
        if isinstance(query, LineVsQuestion):
            return [self.prompts.whether_known(query), *([] if reason else [self.prompts.both(query)])]
        if isinstance(query, LineVsHistory):
            if not query.earlier:
                return Verdict("consistent", reason="there is no earlier line", is_asked=False, applies=False)
            if not self.backend.lists:
                return self.prompts.per_earlier_line(query)
        return [self.prompts.both(query)]


def _verdict(query: Query, pairs: Sequence[tuple[JudgePrompt, JudgePrompt]], answers: Sequence[JudgeAnswer]) -> Verdict:
    """Combines the answers to the prompts of one query."""
    raw = json.dumps([answer.raw[:_MAX_RAW] for answer in answers])
    problem = next((answer.problem for answer in answers if answer.problem), "")
    if problem:
        return Verdict("invalid", reason=f"the reply {problem}", raw=raw)
    if isinstance(query, LineVsHistory) and pairs[0][0].items:
        return _from_lists(answers[0], answers[1], len(query.earlier), raw)
    found = [_combined(*pair) for pair in zip(answers[::2], answers[1::2], strict=True)]
    labels, known = list[Label](label for label, _ in found), [chance for _, chance in found if chance is not None]
    probability = round(min(known), 4) if len(known) == len(found) else None
    if isinstance(query, LineVsQuestion):
        return _from_question(labels, rejection_reason(query), probability, raw)
    if "undecided" in labels:
        return Verdict("undecided", (), "the two answers contradict each other", probability, raw)
    places = tuple(i for i, label in enumerate(labels) if label == "inconsistent")
    conflicts = places if isinstance(query, LineVsHistory) else ()
    return Verdict("inconsistent" if places else "consistent", conflicts, "", probability, raw)


def _from_question(labels: Sequence[Label], rejection: str, probability: float | None, raw: str) -> Verdict:
    """Combines whether something known is asked for with whether the line answers it, if a model was asked that."""
    is_known, *answers = labels
    if is_known == "inconsistent":
        return Verdict("consistent", (), "asks for nothing that the persona states", None, raw, applies=False)
    if "undecided" in labels:
        return Verdict("undecided", (), "the two answers contradict each other", probability, raw)
    if not answers:
        return Verdict("inconsistent", (), rejection, None, raw)
    return Verdict(answers[0], (), "", probability, raw)


def _combined(negative: JudgeAnswer, positive: JudgeAnswer) -> tuple[Label, float | None]:
    """Returns what two answers of opposite polarity say, and the mean of their probabilities of `consistent`."""
    bad, good = negative.label == "A", positive.label == "A"
    label: Label = "undecided" if bad == good else "inconsistent" if bad else "consistent"
    if negative.probability is None or positive.probability is None:
        return label, None
    first = 1 - negative.probability if bad else negative.probability
    second = positive.probability if good else 1 - positive.probability
    return label, (first + second) / 2


def _from_lists(negative: JudgeAnswer, positive: JudgeAnswer, earlier: int, raw: str) -> Verdict:
    """Combines a list of the lines in conflict with one of the compatible lines."""
    conflicts, compatible = negative.numbers, positive.numbers
    if conflicts is None or compatible is None:
        return Verdict("invalid", reason="the reply lists no numbers", raw=raw)
    if conflicts & compatible or len(conflicts) + len(compatible) != earlier:
        return Verdict("undecided", reason="the two lists do not complement each other", raw=raw)
    indices = tuple(sorted(number - 1 for number in conflicts))
    return Verdict("inconsistent" if indices else "consistent", indices, raw=raw)
