"""Pays for a step: one judge batch for all that its terms ask, every verdict counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from persona_env.judges import Judge, Question, Verdict, load_judge
from persona_env.metrics import Finding, verdicts_on
from persona_wrappers.term import AnswerTerm, Event, Term

__all__ = ["Asks", "Cashier", "Payment", "Pays", "SharedJudge", "recordable"]

Asks: TypeAlias = Callable[[Sequence[Finding], Judge | None], list[Verdict]]
"""What `metrics.verdicts_on` does: one judge call for all findings."""


class SharedJudge:
    """A judge that a copied spec shares instead of copying: it may hold a model or a connection."""

    def __init__(self, judge: Judge):
        self.wrapped = judge

    def judge(self, questions: Sequence[Question]) -> list[Verdict]:
        """Returns the wrapped judge's verdicts."""
        return self.wrapped.judge(questions)

    def __deepcopy__(self, memo: dict[int, Any]) -> SharedJudge:
        return self

    def __repr__(self) -> str:
        return repr(self.wrapped)


def recordable(judge: str | Judge) -> str | SharedJudge:
    """Returns a judge as the constructor arguments in a spec may hold it."""
    return judge if isinstance(judge, str | SharedJudge) else SharedJudge(judge)


@dataclass(frozen=True, slots=True)
class Payment:
    """What one event is worth by one term.

    Attributes:
        number: Which of the events it is for.
        name: The term's.
        value: 1.0 good, 0.0 bad, nan invalid.
        reward: What is added to the reward.
    """

    number: int
    name: str
    value: float
    reward: float

    @property
    def key(self) -> str:
        """Where the value stands in an info."""
        return f"consistency/{self.name}"


class Cashier:
    """The terms of one wrapper and the judge that they share.

    Args:
        terms: At least one.
        judge: A judge, its spec, or None if no term asks one.

    Raises:
        ValueError: If the spec names no judge that can be loaded.
    """

    def __init__(self, terms: Sequence[Term], judge: str | Judge | None):
        self.terms = tuple(terms)
        self.judge = None if judge is None else load_judge(judge)

    def joined(self, options: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """Returns reset options with the interviewers among the terms added to their chain."""
        askers = [term for term in self.terms if isinstance(term, AnswerTerm)]
        if not askers:
            return None if options is None else dict(options)
        chain = tuple((options or {}).get("interviewers", ()))
        for place, term in enumerate(askers, len(chain)):
            term.place = place
        return {**(options or {}), "interviewers": (*chain, *(term.ask for term in askers))}

    def findings(self, events: Sequence[Event]) -> list[Finding]:
        """Returns what each term with a part in them finds in these events, in the order in which it is asked."""
        return [finding for _, _, finding in self._due(events)]

    def pay(self, events: Sequence[Event], ask: Asks = verdicts_on) -> list[Payment]:
        """Returns what these events are worth by each term with a part in them; one judge call."""
        due = self._due(events)
        verdicts = ask([finding for _, _, finding in due], self.judge)
        return [
            Payment(number, term.name, verdict.value, term.pay(verdict))
            for (number, term, _), verdict in zip(due, verdicts, strict=True)
        ]

    def _due(self, events: Sequence[Event]) -> list[tuple[int, Term, Finding]]:
        return [
            (number, term, finding)
            for number, event in enumerate(events)
            for term in self.terms
            if (finding := term.finding(event)) is not None
        ]


class Pays:
    """What a reward wrapper of any form tells about its payments.

    Attributes:
        cashier: Its terms and their judge.
    """

    cashier: Cashier

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each drift type by name."""
        return {term.name: term.weight for term in self.cashier.terms}

    @property
    def judged(self) -> int:
        """How many verdicts could be read."""
        return sum(term.judged for term in self.cashier.terms)

    @property
    def invalid(self) -> int:
        """How many verdicts could not be read; nothing is paid for them."""
        return sum(term.invalid for term in self.cashier.terms)

    @property
    def invalid_by_name(self) -> dict[str, int]:
        """How many verdicts could not be read, by drift type."""
        return {term.name: term.invalid for term in self.cashier.terms}
