"""Several judges that vote: only a strict majority decides, and how often they agree is counted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from itertools import combinations
from typing import Any

from persona_env.errors import InputError, shown_spec
from persona_env.judges.base import Judge, JudgeLike, Label, Query, Verdict, as_judge, ask

__all__ = ["Ensemble", "majority", "member_specs"]

_DECIDED: tuple[Label, ...] = ("consistent", "inconsistent")
_LABELS: tuple[Label, ...] = (*_DECIDED, "undecided", "invalid")
_RETRY_SECONDS = 0.1  # a member that has not sent its requests yet has nothing to cancel


class Ensemble(Judge):
    """Asks all its members everything, at the same time, and takes the majority.

    A label needs more than half of all members; without such a majority a verdict is undecided. Of the members that
    find a line inconsistent, more than half must name an earlier line for it to be among the conflicts; where they name
    no line in common, the verdict is undecided. `probability` is the mean of the members' where all give one. For each
    kind of query, `pairs` counts pairs of members, and `agreed` those in which both decided, and alike.

    >>> from persona_env.judges import LineVsHistory, load_judge
    >>> ensemble = Ensemble([load_judge("oracle")] * 3)
    >>> ensemble.judge([LineVsHistory("patient", "Pretty sad.", ("Pretty numb.",))])[0].conflicts
    (0,)
    >>> ensemble.agreed["LineVsHistory"], ensemble.pairs["LineVsHistory"]
    (3, 3)
    """

    def __init__(self, members: Sequence[JudgeLike]):
        if len(members) < 2:
            raise InputError(f"Expected an ensemble of two or more judges, got {len(members)}: name more.")
        self.parts = self.members = tuple(as_judge(member) for member in members)
        self.is_remote = all(member.is_remote for member in self.members)
        self.pairs, self.agreed = Counter[str](), Counter[str]()

    @property
    def identity(self) -> Mapping[str, Any]:
        """The members' identities, as plain data."""
        return {"judge": "ensemble", "members": [dict(member.identity) for member in self.members]}

    def judge(self, queries: Sequence[Query]) -> list[Verdict]:
        """Returns the majority's verdicts, in order; raises what a member raises, once the others were cancelled."""
        return [majority(vote) for vote in self.votes(queries)]

    def votes(self, queries: Sequence[Query]) -> list[tuple[Verdict, ...]]:
        """Returns for each query the verdicts of all members, in their order; raises as `judge` does."""
        if not queries:
            return []
        with ThreadPoolExecutor(len(self.members)) as pool:
            futures = [pool.submit(ask, member, queries) for member in self.members]
            try:
                done = wait(futures, return_when=FIRST_EXCEPTION).done
            finally:
                self._finish(futures)
        for failed in (future for future in done if future.exception()):
            failed.result()
        votes = list(zip(*(future.result() for future in futures), strict=True))
        for query, vote in zip(queries, votes, strict=True):
            for one, other in combinations(vote, 2):
                is_same = (one.label, one.conflicts, one.applies) == (other.label, other.conflicts, other.applies)
                self.pairs[type(query).__name__] += 1
                self.agreed[type(query).__name__] += is_same and one.label in _DECIDED
        return votes

    def _finish(self, futures: Sequence[Future[list[Verdict]]]) -> None:
        """Cancels the members that are still asked, and returns when no call goes on."""
        while pending := [member for member, future in zip(self.members, futures, strict=True) if not future.done()]:
            for member in pending:
                member.cancel()
            wait(futures, timeout=_RETRY_SECONDS)


def majority(vote: Sequence[Verdict]) -> Verdict:
    """Returns the verdict of most members, `undecided` where there is none."""
    nothing = [verdict for verdict in vote if not verdict.applies]
    if 2 * len(nothing) > len(vote):
        return Verdict("consistent", (), f"{len(nothing)} find nothing to judge", applies=False)
    count = Counter(verdict.label for verdict in vote if verdict.applies)
    most: Label | None = next((label for label in _LABELS if 2 * count[label] > len(vote)), None)
    reason = ", ".join(f"{count[label]} {label}" for label in _LABELS if count[label])
    known = [verdict.probability for verdict in vote if verdict.probability is not None]
    probability = sum(known) / len(known) if len(known) == len(vote) else None
    if most is None:
        return Verdict("undecided", (), f"no majority: {reason}", probability)
    if most != "inconsistent":
        return Verdict(most, (), reason, probability)
    negative = [verdict for verdict in vote if verdict.label == "inconsistent"]
    named = Counter(index for verdict in negative for index in verdict.conflicts)
    conflicts = tuple(sorted(index for index, times in named.items() if 2 * times > len(negative)))
    if named and not conflicts and 2 * sum(bool(verdict.conflicts) for verdict in negative) > len(negative):
        return Verdict("undecided", (), f"no majority for any earlier line: {reason}", probability)
    return Verdict("inconsistent", conflicts, reason, probability)


def member_specs(text: str, kinds: Collection[str]) -> list[str]:
    """Returns the specs in a list of them; a comma separates two only before a kind of judge, as paths have commas.

    >>> member_specs("oracle,hf:a,b/model, openai:m?temperature=0", ["oracle", "hf", "openai"])
    ['oracle', 'hf:a,b/model', 'openai:m?temperature=0']
    """
    begin = "|".join(map(re.escape, kinds))
    specs = [spec.strip() for spec in re.split(rf",(?=\s*(?:{begin})\b)", text)]
    if any(spec.startswith("ensemble:") for spec in specs):
        raise InputError(
            f"Expected an ensemble of single judges, got {shown_spec(text)!r}: name all of them in one list."
        )
    return specs
