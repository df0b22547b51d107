"""Canaries: questions with known answers among those of a run, and a halt when the judge fails them."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import comb

from persona_env.errors import InputError, JudgeUnreliable, RunEnded
from persona_env.judges.around import Around
from persona_env.judges.base import AnswerVsGold, Judge, LineVsHistory, Query, Verdict
from persona_env.judges.canary_items import KnownAnswer, known_answers
from persona_env.persona import Persona

__all__ = ["Canaries", "CanaryCount", "least_error_rate"]

_DOUBT = 1e-3
_WINDOW = 200


@dataclass(frozen=True, slots=True)
class CanaryCount:
    """How the judge did on questions with known answers.

    Attributes:
        asked: How many there were.
        failed: To how many the verdict was another one than the right one, invalid ones included.
        invalid: How many verdicts were invalid.
    """

    asked: int = 0
    failed: int = 0
    invalid: int = 0


def _chance(failed: int, asked: int, rate: float) -> float:
    """Returns the chance that a judge with this error rate fails so many or more."""
    return sum(comb(asked, k) * rate**k * (1 - rate) ** (asked - k) for k in range(failed, asked + 1))


def least_error_rate(failed: int, asked: int, doubt: float = _DOUBT) -> float:
    """Returns the error rate that a judge has at least, but for a chance of `doubt`.

    The exact one-sided binomial bound of Clopper and Pearson: the rate at which `failed` or more of `asked` come
    out with probability `doubt`.

    >>> least_error_rate(0, 50), round(least_error_rate(1, 1, 0.05), 4), round(least_error_rate(10, 20, 0.025), 4)
    (0.0, 0.05, 0.272)
    """
    low, high = 0.0, failed / asked if failed else 0.0
    for _ in range(50 if failed else 0):
        rate = (low + high) / 2
        low, high = (rate, high) if _chance(failed, asked, rate) < doubt else (low, rate)
    return low


class Canaries(Around):
    """Mixes questions with known answers into a judge's batches, and stops the run when it fails them.

    About one question in `every` is followed by a canary of its own kind and role. Which one, and after which
    question, hangs on the question alone, so that a resumed run asks the same again. The caller never sees them.
    Of the last 200 canaries, and of the last 200 of each kind, the errors must leave the judge a chance of 1 in
    1,000 to have an error rate of at most `limit`.

    Stands next to the judge, inside of what answers for nothing: `KeptJudge(Canaries(judge, cast), store)`; a
    canary that a store answers says nothing of the judge.

    Args:
        judge: The judge.
        cast: The personas whose facts the canaries are made of.
        every: One canary for about so many questions.
        limit: The error rate that is put up with, in (0, 1).

    Attributes:
        counts: For each kind of question how the judge has done on all canaries so far.

    Raises:
        ValueError: If an argument cannot be used, or the cast has no fact to make canaries of.

    >>> from persona_env.judges import load_judge
    >>> from persona_env.testing.samples import sample_queries
    >>> from persona_env.world import personas
    >>> judge = Canaries(load_judge("oracle"), personas("patient", "train"), every=1)
    >>> len(judge.judge(sample_queries())) == len(sample_queries())
    True
    >>> sum(count.asked for count in judge.counts.values()), sum(count.failed for count in judge.counts.values())
    (92, 0)
    """

    def __init__(self, judge: Judge, cast: Sequence[Persona], *, every: int = 20, limit: float = 0.2):
        if every < 1:
            raise InputError(f"Expected every >= 1, got {every}: 20 mixes in one canary for 20 questions.")
        if not 0 < limit < 1:
            raise InputError(f"Expected limit in (0, 1), got {limit}: 0.2 stops a judge that errs more than that.")
        super().__init__(judge)
        self.every, self.limit = every, limit
        self._known: defaultdict[tuple[str, str], list[KnownAnswer]] = defaultdict(list)
        for known in known_answers(cast):
            kind, role = _kind(known.question)
            self._known[kind, role].append(known)
            self._known[kind, ""].append(known)
            self._known["", ""].append(known)
        if not self._known:
            raise InputError(
                "Expected personas with questions about stated facts that have a wrong answer too, got none: "
                "canaries need them; give questions choices."
            )
        self.counts: dict[str, CanaryCount] = {}
        self._lately: defaultdict[str, deque[bool]] = defaultdict(lambda: deque(maxlen=_WINDOW))

    def judge(self, questions: Sequence[Query]) -> list[Verdict]:
        """Returns the verdicts, in order.

        Raises:
            JudgeUnreliable: If the judge has failed too many canaries.
        """
        mixed: list[Query] = []
        canaries: dict[int, KnownAnswer] = {}
        for question in questions:
            mixed.append(question)
            canary = self._canary(question)
            if canary:
                canaries[len(mixed)] = canary
                mixed.append(canary.question)
        try:
            verdicts = self.wrapped.judge(mixed)
        except RunEnded as error:
            _hide(error, canaries)
            raise
        if len(verdicts) != len(mixed):
            raise InputError(f"Expected {len(mixed)} verdicts, got {len(verdicts)}: a judge answers each question.")
        for place, canary in canaries.items():
            self._count(canary, verdicts[place])
        self._halt()
        return [verdict for place, verdict in enumerate(verdicts) if place not in canaries]

    def __repr__(self) -> str:
        return f"Canaries({self.wrapped!r}, every={self.every}, limit={self.limit})"

    def _canary(self, question: Query) -> KnownAnswer | None:
        kind, role = _kind(question)
        draw = int.from_bytes(sha256(_text(question).encode("utf-8", "surrogatepass")).digest()[:8], "big")
        if draw % self.every:
            return None
        known = self._known.get((kind, role)) or self._known.get((kind, "")) or self._known["", ""]
        return known[draw // self.every % len(known)]

    def _count(self, canary: KnownAnswer, verdict: Verdict) -> None:
        kind, _ = _kind(canary.question)
        failed = (verdict.label, verdict.conflicts) != (canary.label, canary.conflicts)
        before = self.counts.get(kind, CanaryCount())
        invalid = before.invalid + (verdict.label == "invalid")
        self.counts[kind] = CanaryCount(before.asked + 1, before.failed + failed, invalid)
        for name in (kind, "any kind"):
            self._lately[name].append(failed)

    def _halt(self) -> None:
        for name, failures in self._lately.items():
            failed, asked = sum(failures), len(failures)
            if failed / asked > self.limit and _chance(failed, asked, self.limit) < _DOUBT:  # the bound is above it
                least = least_error_rate(failed, asked)
                raise JudgeUnreliable(
                    f"Expected a judge that errs on at most {self.limit:.0%} of questions with known answers, got "
                    f"{failed} of {asked} wrong ({name}; at least {least:.0%}): calibrate it, or "
                    "use another judge."
                )


def _hide(error: RunEnded, canaries: Mapping[int, KnownAnswer]) -> None:
    """Counts what an exception brings along (`answered`, by place) by the caller's places."""
    answered: Mapping[int, Verdict] = getattr(error, "answered", None) or {}
    own = [place for place in sorted(answered) if place not in canaries]
    kept = {place - sum(canary < place for canary in canaries): answered[place] for place in own}
    if answered:
        error.answered = kept  # pyright: ignore[reportAttributeAccessIssue]


def _kind(question: Query) -> tuple[str, str]:
    role = question.role if isinstance(question, LineVsHistory | AnswerVsGold) else question.persona.role
    return type(question).__name__, role


def _text(question: Query) -> str:
    """Returns what makes two questions the same."""
    if isinstance(question, LineVsHistory):
        return repr((question.role, question.line, question.earlier))
    if isinstance(question, AnswerVsGold):
        return repr((question.role, question.question, question.gold, question.answer))
    return repr((type(question).__name__, question.persona.id, question.heard, question.line))
