"""Several judges that vote: only a strict majority is a verdict, and how often they agree is reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from persona_env.errors import InputError
from persona_env.judges.base import Judge, Label, Query, Verdict
from persona_env.judges.waiting import interrupt
from persona_env.models.limits import Usage

__all__ = ["Agreement", "Ensemble"]

_LABELS: tuple[Label, Label] = ("consistent", "inconsistent")
_AGAIN = 0.1  # seconds: a member that is just going to ask cannot be interrupted yet


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often two members said the same.

    Attributes:
        pairs: Questions times pairs of members.
        agreed: Those in which both gave the same verdict, and none was invalid.
    """

    pairs: int = 0
    agreed: int = 0

    @property
    def share(self) -> float:
        """In [0, 1]; nan where nothing was asked."""
        return self.agreed / self.pairs if self.pairs else float("nan")


class Ensemble:
    """Asks all its members everything, at the same time, and takes the majority.

    A label needs more than half of all members, so a tie is invalid, and so is a majority of invalid replies. Of
    the members that find a line inconsistent, more than half must name an earlier line for it to be among the
    conflicts; where they find conflicts but name no line in common, the verdict is invalid. `probability` is the
    mean of the members' where all give one. An invalid verdict is `lost` where a member's is.

    Args:
        members: Two or more judges, an odd number for preference.

    Attributes:
        agreement: For each kind of question (`LineVsPersona`, ...) how often pairs of members agreed.

    >>> from persona_env.judges import LineVsHistory, load_judge
    >>> ensemble = Ensemble([load_judge("oracle")] * 3)
    >>> ensemble.judge([LineVsHistory("patient", "Pretty sad.", ("Pretty numb.",))])[0].conflicts
    (0,)
    >>> ensemble.agreement["LineVsHistory"].share
    1.0
    """

    def __init__(self, members: Sequence[Judge]):
        if len(members) < 2:
            raise InputError(f"Expected a ensemble of two or more judges, got {len(members)}: name more.")
        self.members = tuple(members)
        self.agreement: dict[str, Agreement] = {}

    @property
    def identity(self) -> Mapping[str, Any]:
        """The members' identities, as plain data.

        Raises:
            ValueError: If a member has none.
        """
        for member in self.members:
            if not isinstance(getattr(member, "identity", None), Mapping):
                raise InputError(f"Expected judges with an identity, got {member!r:.80}: give it one.")
        return {"judge": "ensemble", "members": [dict(getattr(member, "identity")) for member in self.members]}  # noqa: B009

    @property
    def usage(self) -> Usage:
        """What all members together have used so far."""
        used = [usage for member in self.members if (usage := getattr(member, "usage", None)) is not None]
        names = ("calls", "prompt_tokens", "completion_tokens", "retries")
        return Usage(*(sum(getattr(usage, name, 0) for usage in used) for name in names))

    def judge(self, questions: Sequence[Query]) -> list[Verdict]:
        """Returns the majority's verdicts, in order.

        What a member raises is raised, once the others were interrupted; its `answered` then has the majority's
        verdicts on what every member had answered, by place.
        """
        if not questions:
            return []
        with ThreadPoolExecutor(len(self.members)) as pool:
            asked = [pool.submit(member.judge, questions) for member in self.members]
            try:
                done = wait(asked, return_when=FIRST_EXCEPTION).done
            finally:
                self._end(asked)
        votes = self._votes(questions, asked)
        self._count([questions[place] for place in votes], [*votes.values()])
        verdicts = {place: _majority(vote) for place, vote in votes.items()}
        for ballot in asked:
            if ballot in done and (error := ballot.exception()):
                error.answered = verdicts  # pyright: ignore[reportAttributeAccessIssue]
                raise error
        return [*verdicts.values()]

    def _end(self, asked: Sequence[Future[list[Verdict]]]) -> None:
        """Interrupts the members that are still asked; waits for those that cannot be interrupted."""
        while waiting := [member for member, ballot in zip(self.members, asked, strict=True) if not ballot.done()]:
            for member in waiting:
                interrupt(member)
            wait(asked, timeout=_AGAIN)

    def _votes(
        self, questions: Sequence[Query], asked: Sequence[Future[list[Verdict]]]
    ) -> dict[int, tuple[Verdict, ...]]:
        """Returns all members' verdicts on each question that all have answered, by place."""
        ballots = list[Mapping[int, Verdict]]()
        for member, ballot in zip(self.members, asked, strict=True):
            error = ballot.exception()
            given = getattr(error, "answered", None) or {} if error else dict(enumerate(ballot.result()))
            if not error and len(given) != len(questions):
                raise InputError(f"Expected {len(questions)} verdicts from {member!r:.80}, got {len(given)}: mend it.")
            ballots.append(given)
        shared = [place for place in range(len(questions)) if all(place in ballot for ballot in ballots)]
        return {place: tuple(ballot[place] for ballot in ballots) for place in shared}

    def __repr__(self) -> str:
        return f"Ensemble({list(self.members)!r})"

    def _count(self, questions: Sequence[Query], votes: Sequence[Sequence[Verdict]]) -> None:
        pairs, agreed = Counter[str](), Counter[str]()
        for question, vote in zip(questions, votes, strict=True):
            kind = type(question).__name__
            for one, other in combinations(vote, 2):
                pairs[kind] += 1
                agreed[kind] += one.label != "invalid" and (one.label, one.conflicts) == (other.label, other.conflicts)
        for kind, count in pairs.items():
            before = self.agreement.get(kind, Agreement())
            self.agreement[kind] = Agreement(before.pairs + count, before.agreed + agreed[kind])


def _majority(vote: Sequence[Verdict]) -> Verdict:
    count = Counter(verdict.label for verdict in vote)
    label = next((label for label in _LABELS if 2 * count[label] > len(vote)), None)
    reason = ", ".join(f"{count[label]} {label}" for label in (*_LABELS, "invalid") if count[label])
    known = [verdict.probability for verdict in vote if verdict.probability is not None]
    probability = sum(known) / len(known) if len(known) == len(vote) else None
    lost = any(verdict.lost for verdict in vote)
    if label is None:
        return Verdict("invalid", (), f"no majority: {reason}", probability, lost=lost)
    if label == "consistent":
        return Verdict("consistent", (), reason, probability)
    ayes = [verdict for verdict in vote if verdict.label == "inconsistent"]
    named = Counter(place for verdict in ayes for place in verdict.conflicts)
    conflicts = tuple(sorted(place for place, times in named.items() if 2 * times > len(ayes)))
    if named and not conflicts and 2 * sum(bool(verdict.conflicts) for verdict in ayes) > len(ayes):
        return Verdict("invalid", (), f"no majority for any earlier line: {reason}", probability, lost=lost)
    return Verdict("inconsistent", conflicts, reason, probability)
