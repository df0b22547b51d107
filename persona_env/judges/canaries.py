"""Canaries: queries with known answers mixed into those of a run, which stop it when the judge fails them."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from hashlib import sha256
from math import comb
from typing import Any

from persona_env.errors import InputError, JudgeUnreliable
from persona_env.judges.base import Judge, JudgeLike, Query, Verdict, as_judge, ask, query_key
from persona_env.judges.canary_items import KnownAnswer

__all__ = ["Canaries"]

_WINDOW, _SIGNIFICANCE = 200, 1e-3


class Canaries(Judge):
    """Mixes queries with known answers into a judge's batches, and stops the run when it fails them.

    About one query in `every` is followed by a canary of its own kind and role. Which one, and after which query,
    depends on the query alone, so that a resumed run asks the same again. The caller never sees them. The run is
    stopped when the errors among the last 200 canaries, or the last 200 of one kind, would have a chance of less than
    1 in 1,000 at an error rate of `limit`. For each kind of query, `asked` counts canaries and `failed` those whose
    verdict was wrong or invalid.

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
        self._recent: defaultdict[str, deque[bool]] = defaultdict(lambda: deque(maxlen=_WINDOW))

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
            is_wrong = (verdict.label, verdict.conflicts) != (canary.label, canary.conflicts)
            self.asked[kind] += 1
            self.failed[kind] += is_wrong
            self._recent[kind].append(is_wrong)
            self._recent["any kind"].append(is_wrong)
        self._check()
        return [verdict for index, verdict in enumerate(verdicts) if index not in canaries]

    def _canary(self, query: Query) -> KnownAnswer | None:
        kind = type(query).__name__
        draw = int.from_bytes(sha256(repr(query_key(query)).encode("utf-8", "surrogatepass")).digest()[:8], "big")
        if draw % self.every:
            return None
        known = self._known.get((kind, query.role)) or self._known.get((kind, "")) or self._known["", ""]
        return known[draw // self.every % len(known)]

    def _check(self) -> None:
        for name, failures in self._recent.items():
            failed, asked, rate = sum(failures), len(failures), self.limit
            # The chance that a judge with this error rate fails so many or more.
            chance = sum(comb(asked, k) * rate**k * (1 - rate) ** (asked - k) for k in range(failed, asked + 1))
            if failed / asked > rate and chance < _SIGNIFICANCE:
                raise JudgeUnreliable(
                    f"Expected a judge that errs on at most {self.limit:.0%} of queries with known answers, got "
                    f"{failed} of {asked} wrong ({name}): calibrate it, or use another judge."
                )
