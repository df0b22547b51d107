"""Canaries: queries with known answers mixed into those of a run, which stop it when the judge fails them."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import comb
from typing import Any

from persona_env.errors import InputError, JudgeUnreliable
from persona_env.judges.base import AnswerVsGold, Judge, JudgeLike, LineVsHistory, Query, Verdict, as_judge, ask
from persona_env.judges.canary_items import KnownAnswer
from persona_env.models.limits import ModelResources, Usage

__all__ = ["Canaries", "CanaryCount", "min_error_rate"]

_SIGNIFICANCE = 1e-3
_WINDOW = 200


@dataclass(frozen=True, slots=True)
class CanaryCount:
    """How the judge did on queries with known answers.

    Attributes:
        asked: How many there were.
        failed: How many got another verdict than the right one, invalid ones included.
        invalid: How many verdicts were invalid.
    """

    asked: int = 0
    failed: int = 0
    invalid: int = 0


def _chance(failed: int, asked: int, rate: float) -> float:
    """Returns the chance that a judge with this error rate fails so many or more."""
    return sum(comb(asked, k) * rate**k * (1 - rate) ** (asked - k) for k in range(failed, asked + 1))


def min_error_rate(failed: int, asked: int, significance: float = _SIGNIFICANCE) -> float:
    """Returns the lower bound of a judge's error rate at a one-sided significance.

    The exact binomial bound of Clopper and Pearson: the rate at which `failed` or more of `asked` fail with
    probability `significance`.

    >>> min_error_rate(0, 50), round(min_error_rate(1, 1, 0.05), 4), round(min_error_rate(10, 20, 0.025), 4)
    (0.0, 0.05, 0.272)
    """
    low, high = 0.0, failed / asked if failed else 0.0
    for _ in range(50 if failed else 0):
        rate = (low + high) / 2
        low, high = (rate, high) if _chance(failed, asked, rate) < significance else (low, rate)
    return low


class Canaries(Judge):
    """Mixes queries with known answers into a judge's batches, and stops the run when it fails them.

    About one query in `every` is followed by a canary of its own kind and role. Which one, and after which query,
    depends on the query alone, so that a resumed run asks the same again. The caller never sees them. The run is
    stopped when the errors among the last 200 canaries, or the last 200 of one kind, would have a chance of less than
    1 in 1,000 at an error rate of `limit`.

    Args:
        inner: The judge.
        known: Queries with known answers: see `known_answers`.
        every: One canary for about so many queries.
        limit: The error rate that is tolerated, in (0, 1).

    Attributes:
        counts: For each kind of query how the judge has done on all canaries so far.

    Raises:
        InputError: If an argument cannot be used.

    >>> from persona_env.judges import load_judge
    >>> from persona_env.judges.canary_items import known_answers
    >>> from persona_env.testing.samples import sample_queries
    >>> from persona_env.world import personas
    >>> judge = Canaries(load_judge("oracle"), known_answers(personas("patient", "train")), every=1)
    >>> len(judge.judge(sample_queries())) == len(sample_queries())
    True
    >>> sum(count.asked for count in judge.counts.values()), sum(count.failed for count in judge.counts.values())
    (92, 0)
    """

    def __init__(self, inner: JudgeLike, known: Sequence[KnownAnswer], *, every: int = 20, limit: float = 0.2):
        if every < 1:
            raise InputError(f"Expected every >= 1, got {every}: 20 mixes in one canary for 20 queries.")
        if not 0 < limit < 1:
            raise InputError(f"Expected limit in (0, 1), got {limit}: 0.2 stops a judge that errs more than that.")
        if not known:
            raise InputError("Expected queries with known answers, got none: use the judge without canaries.")
        self.inner, self.every, self.limit = as_judge(inner), every, limit
        self.is_remote = self.inner.is_remote
        self._known: defaultdict[tuple[str, str], list[KnownAnswer]] = defaultdict(list)
        for item in known:
            kind, role = _kind(item.query)
            for key in ((kind, role), (kind, ""), ("", "")):
                self._known[key].append(item)
        self.counts: dict[str, CanaryCount] = {}
        self._recent: defaultdict[str, deque[bool]] = defaultdict(lambda: deque(maxlen=_WINDOW))

    @property
    def identity(self) -> Mapping[str, Any]:
        """The judge's own: canaries change no verdict."""
        return self.inner.identity

    @property
    def usage(self) -> Usage:
        """What the judge has used so far, canaries included."""
        return self.inner.usage

    def use(self, resources: ModelResources) -> None:
        """Attaches caches and limits to the judge's models."""
        self.inner.use(resources)

    def cancel(self) -> None:
        """Makes the judge's calls in other threads raise soon."""
        self.inner.cancel()

    def close(self) -> None:
        """Closes the judge."""
        self.inner.close()

    def judge(self, queries: Sequence[Query]) -> list[Verdict]:
        """Returns the verdicts, in order.

        Raises:
            JudgeUnreliable: If the judge has failed too many canaries.
        """
        mixed: list[Query] = []
        canaries: dict[int, KnownAnswer] = {}
        for query in queries:
            mixed.append(query)
            canary = self._canary(query)
            if canary:
                canaries[len(mixed)] = canary
                mixed.append(canary.query)
        verdicts = ask(self.inner, mixed)
        for index, canary in canaries.items():
            self._count(canary, verdicts[index])
        self._check()
        return [verdict for index, verdict in enumerate(verdicts) if index not in canaries]

    def __repr__(self) -> str:
        return f"Canaries({self.inner!r}, every={self.every}, limit={self.limit})"

    def _canary(self, query: Query) -> KnownAnswer | None:
        kind, role = _kind(query)
        draw = int.from_bytes(sha256(_text(query).encode("utf-8", "surrogatepass")).digest()[:8], "big")
        if draw % self.every:
            return None
        known = self._known.get((kind, role)) or self._known.get((kind, "")) or self._known["", ""]
        return known[draw // self.every % len(known)]

    def _count(self, canary: KnownAnswer, verdict: Verdict) -> None:
        kind, _ = _kind(canary.query)
        failed = (verdict.label, verdict.conflicts) != (canary.label, canary.conflicts)
        before = self.counts.get(kind, CanaryCount())
        invalid = before.invalid + (verdict.label == "invalid")
        self.counts[kind] = CanaryCount(before.asked + 1, before.failed + failed, invalid)
        for name in (kind, "any kind"):
            self._recent[name].append(failed)

    def _check(self) -> None:
        for name, failures in self._recent.items():
            failed, asked = sum(failures), len(failures)
            if failed / asked > self.limit and _chance(failed, asked, self.limit) < _SIGNIFICANCE:
                raise JudgeUnreliable(
                    f"Expected a judge that errs on at most {self.limit:.0%} of queries with known answers, got "
                    f"{failed} of {asked} wrong ({name}; at least {min_error_rate(failed, asked):.0%}): calibrate it, "
                    "or use another judge."
                )


def _kind(query: Query) -> tuple[str, str]:
    role = query.role if isinstance(query, LineVsHistory | AnswerVsGold) else query.persona.role
    return type(query).__name__, role


def _text(query: Query) -> str:
    """Returns what makes two queries the same."""
    if isinstance(query, LineVsHistory):
        return repr((query.role, query.line, query.earlier))
    if isinstance(query, AnswerVsGold):
        return repr((query.role, query.question, query.gold, query.answer))
    return repr((type(query).__name__, query.persona.id, query.heard, query.line))
