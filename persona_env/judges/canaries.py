"""Canaries: queries with known answers mixed into those of a run, which stop it when the judge fails them."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from persona_env.errors import InputError, JudgeUnreliable
from persona_env.judges.base import Judge, JudgeLike, Query, Verdict, as_judge, ask, query_key
from persona_env.judges.canary_items import KnownAnswer

__all__ = ["Canaries", "evidence"]

_WINDOW = 400
_ENOUGH = 1000.0
_RATES = (1 / 8, 2 / 8, 3 / 8, 1.0)  # of the way from the limit to 1: with 20 % these are 30, 40, 50 and 100 % errors


class Canaries(Judge):
    """Mixes queries with known answers into a judge's batches, and stops the run when it fails them.

    About one query in `every` is followed by a canary of its own kind and role. Which one, and after which query,
    depends on the query alone, so that a resumed run asks the same again. The caller never sees them. For each kind of
    query, `asked` counts canaries and `failed` those whose verdict was wrong, undecided or invalid.

    Canaries repeat, and most judges answer each the same way every time, so each counts once, with its last verdict.
    After every batch the errors among the last 400 distinct ones, and among the last 400 of each kind, are tested: the
    run is stopped where they are 1,000 times likelier at rates above `limit` than at `limit`. Looking often does not
    weaken this test: a judge that errs independently on 18 % is stopped by a limit of 20 % in less than 1 of 1,000
    runs. One that says the same to everything is stopped after about 35 distinct canaries, one that errs on 40 % after
    about 70.

    Source: mixtures of likelihood ratios and Ville's inequality, arXiv 2210.01948.

    >>> from persona_env.judges import load_judge
    >>> from persona_env.judges.canary_items import known_answers
    >>> from persona_env.world import personas
    >>> known = known_answers(personas("patient", "train"))
    >>> judge = Canaries(load_judge("oracle"), known, every=1)
    >>> len(judge.judge([item.query for item in known[:3]]))
    3
    """

    def __init__(self, inner: JudgeLike, known: Sequence[KnownAnswer], *, every: int = 20, limit: float = 0.2):
        if every < 1:
            raise InputError(f"Expected every >= 1, got {every}: 20 mixes in one canary for 20 queries.")
        if not 0 < limit < 1:
            raise InputError(f"Expected limit in (0, 1), got {limit}: 0.2 stops a judge that errs more than that.")
        if not known:
            raise InputError("Expected queries with known answers, got none: use the judge without canaries.")
        self.inner, self.every, self.limit = as_judge(inner), every, limit
        self.parts, self.is_remote = (self.inner,), self.inner.is_remote
        self._known: defaultdict[tuple[str, str], list[KnownAnswer]] = defaultdict(list)
        for item in known:
            kind = type(item.query).__name__
            for key in ((kind, item.query.role), (kind, ""), ("", "")):
                self._known[key].append(item)
        self.asked, self.failed = Counter[str](), Counter[str]()
        self._recent: defaultdict[str, dict[Any, bool]] = defaultdict(
            dict[Any, bool]
        )  # whether wrong, the last one last

    @property
    def identity(self) -> Mapping[str, Any]:
        """The judge's own: canaries change no verdict."""
        return self.inner.identity

    def judge(self, queries: Sequence[Query]) -> list[Verdict]:
        """Returns the verdicts, in order; raises JudgeUnreliable if the judge has failed too many canaries."""
        mixed: list[Query] = []
        canaries: dict[int, KnownAnswer] = {}
        for query in queries:
            mixed.append(query)
            if canary := self._canary(query):
                canaries[len(mixed)] = canary
                mixed.append(canary.query)
        verdicts = ask(self.inner, mixed)
        for index, canary in canaries.items():
            kind, verdict = type(canary.query).__name__, verdicts[index]
            is_wrong = (verdict.label, verdict.conflicts, verdict.applies) != (canary.label, canary.conflicts, True)
            self.asked[kind] += 1
            self.failed[kind] += is_wrong
            for name in (kind, "any kind"):
                self._note(name, query_key(canary.query), is_wrong)
        self._check()
        return [verdict for index, verdict in enumerate(verdicts) if index not in canaries]

    def _canary(self, query: Query) -> KnownAnswer | None:
        kind = type(query).__name__
        draw = int.from_bytes(sha256(repr(query_key(query)).encode("utf-8", "surrogatepass")).digest()[:8], "big")
        if draw % self.every:
            return None
        known = self._known.get((kind, query.role)) or self._known.get((kind, "")) or self._known["", ""]
        return known[draw // self.every % len(known)]

    def _note(self, name: str, canary: object, is_wrong: bool) -> None:
        recent = self._recent[name]
        recent.pop(canary, None)
        recent[canary] = is_wrong
        if len(recent) > _WINDOW:
            del recent[next(iter(recent))]

    def _check(self) -> None:
        for name, recent in self._recent.items():
            failed, asked = sum(recent.values()), len(recent)
            if evidence(failed, asked, self.limit) > _ENOUGH:
                raise JudgeUnreliable(
                    f"Expected a judge that errs on at most {self.limit:.0%} of queries with known answers, got "
                    f"{failed} of {asked} wrong ({name}): calibrate it, or use another judge."
                )


def evidence(failed: int, asked: int, limit: float) -> float:
    """Returns how much likelier so many errors are at rates above `limit`, on the mean of four, than at `limit`.

    With errors at that rate or below, it ever exceeds x with a chance of at most 1 / x. Not above the limit it is 1.

    >>> round(evidence(1, 1, 0.2), 3)  # the mean of 0.3, 0.4, 0.5 and 1, divided by 0.2
    2.75
    """
    if failed <= limit * asked:
        return 1.0
    rates = [limit + (1 - limit) * part for part in _RATES]
    ratios = [_ratio(failed, rate / limit) * _ratio(asked - failed, (1 - rate) / (1 - limit)) for rate in rates]
    return sum(ratios) / len(ratios)


def _ratio(count: int, base: float) -> float:
    try:
        return base**count
    except OverflowError:
        return math.inf
