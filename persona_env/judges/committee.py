"""Several judges that vote: only a strict majority is a verdict, and how often they agree is reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from persona_env.judges import Judge, Label, Question, Verdict
from persona_env.remote.chat import Usage

__all__ = ["Agreement", "Committee"]

_LABELS: tuple[Label, Label] = ("consistent", "inconsistent")


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


class Committee:
    """Asks all its members everything, at the same time, and takes the majority.

    A label needs more than half of all members, so a tie is invalid, and so is a majority of invalid replies. Of
    the members that find a line inconsistent, more than half must name an earlier line for it to be among the
    conflicts; where they find conflicts but name no line in common, the verdict is invalid. `probability` is the
    mean of the members' where all give one.

    Args:
        members: Two or more judges, an odd number for preference.

    Attributes:
        agreement: For each kind of question (`LineVsPersona`, ...) how often pairs of members agreed.

    >>> from persona_env.judges import LineVsHistory, load_judge
    >>> committee = Committee([load_judge("oracle")] * 3)
    >>> committee.judge([LineVsHistory("patient", "Pretty sad.", ("Pretty numb.",))])[0].conflicts
    (0,)
    >>> committee.agreement["LineVsHistory"].share
    1.0
    """

    def __init__(self, members: Sequence[Judge]):
        if len(members) < 2:
            raise ValueError(f"Expected a committee of two or more judges, got {len(members)}: name more.")
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
                raise ValueError(f"Expected judges with an identity, got {member!r:.80}: give it one.")
        return {"judge": "committee", "members": [dict(getattr(member, "identity")) for member in self.members]}  # noqa: B009

    @property
    def usage(self) -> Usage:
        """What all members together have used so far."""
        used = [usage for member in self.members if (usage := getattr(member, "usage", None)) is not None]
        names = ("calls", "prompt_tokens", "completion_tokens", "retries")
        return Usage(*(sum(getattr(usage, name, 0) for usage in used) for name in names))

    def judge(self, questions: Sequence[Question]) -> list[Verdict]:
        """Returns the majority's verdicts, in order."""
        if not questions:
            return []
        with ThreadPoolExecutor(len(self.members)) as pool:
            ballots = list(pool.map(lambda member: member.judge(questions), self.members))
        for member, ballot in zip(self.members, ballots, strict=True):
            if len(ballot) != len(questions):
                raise ValueError(f"Expected {len(questions)} verdicts from {member!r:.80}, got {len(ballot)}: mend it.")
        votes = list(zip(*ballots, strict=True))
        self._count(questions, votes)
        return [_majority(vote) for vote in votes]

    def __repr__(self) -> str:
        return f"Committee({list(self.members)!r})"

    def _count(self, questions: Sequence[Question], votes: Sequence[Sequence[Verdict]]) -> None:
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
    if label is None:
        return Verdict("invalid", (), f"no majority: {reason}", probability)
    if label == "consistent":
        return Verdict("consistent", (), reason, probability)
    ayes = [verdict for verdict in vote if verdict.label == "inconsistent"]
    named = Counter(place for verdict in ayes for place in verdict.conflicts)
    conflicts = tuple(sorted(place for place, times in named.items() if 2 * times > len(ayes)))
    if named and not conflicts and 2 * sum(bool(verdict.conflicts) for verdict in ayes) > len(ayes):
        return Verdict("invalid", (), f"no majority for any earlier line: {reason}", probability)
    return Verdict("inconsistent", conflicts, reason, probability)
