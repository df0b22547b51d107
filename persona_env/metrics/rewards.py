"""Rewards from consistency metrics: events of a dialogue in, rewards out.

The core of all reward wrappers, training loops and hosts: an environment tells what a step completed, and
`RewardFunction` asks the judge about it once and says what it is worth.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from persona_env.conversation import Conversation, Probe
from persona_env.errors import InputError
from persona_env.judges import load_judge
from persona_env.judges.base import Judge, Verdict
from persona_env.metrics.metric import LineMetric, QueryOrVerdict, verdicts_on
from persona_env.metrics.question_answer import QuestionAnswer, answer_query

__all__ = [
    "Asks",
    "Event",
    "LineCompleted",
    "LineReward",
    "ProbeAnswered",
    "ProbeReward",
    "RewardFunction",
    "RewardItem",
    "RewardStats",
    "RewardTerm",
    "event_in",
]


@dataclass(frozen=True, slots=True)
class LineCompleted:
    """The simulator completed line `index` of a dialogue."""

    conversation: Conversation
    index: int


@dataclass(frozen=True, slots=True)
class ProbeAnswered:
    """The simulator completed the answer to a question."""

    probe: Probe
    text: str


Event: TypeAlias = LineCompleted | ProbeAnswered


def event_in(info: Mapping[str, Any]) -> Event | None:
    """Returns what one step completed, as its info tells it; None if nothing."""
    if "answer" in info:
        return ProbeAnswered(info["probe"], info["answer"])
    if "line" in info:
        return LineCompleted(info["conversation"], info["line_index"])
    return None


class RewardTerm(ABC):
    """One drift type, its weight, and how many verdicts it has had.

    Attributes:
        name: As in `info["consistency/<name>"]`.
        weight: What a good line or answer is worth; of a penalty, what a bad one costs.
        penalty: Whether bad is punished (0 or -weight) rather than good paid (weight or 0).
        judged: How many readable verdicts it has had.
        invalid: How many unreadable ones; they are never paid.
    """

    def __init__(self, name: str, weight: float, *, penalty: bool = False):
        if not (math.isfinite(weight) and weight >= 0.0):
            remedy = "a penalty has its sign already" if math.isfinite(weight) else "give a finite number"
            raise InputError(f"Expected weight >= 0 for {name}, got {weight}: {remedy}.")
        self.name, self.weight, self.penalty = name, float(weight), penalty
        self.judged = self.invalid = 0

    @abstractmethod
    def query(self, event: Event) -> QueryOrVerdict | None:
        """Returns what to judge about an event, or None if this drift type has no part in it."""

    def pay(self, verdict: Verdict) -> float:
        """Counts a verdict and returns its reward: in [0, weight], or [-weight, 0] of a penalty."""
        value = verdict.value
        if math.isnan(value):
            self.invalid += 1
            return 0.0
        self.judged += 1
        return self.weight * (value - 1.0 if self.penalty else value)


class LineReward(RewardTerm):
    """RewardStats for each completed line what a metric of lines finds in it."""

    def __init__(self, metric: LineMetric, weight: float, *, penalty: bool = False):
        super().__init__(metric.name, weight, penalty=penalty)
        self.metric = metric

    def query(self, event: Event) -> QueryOrVerdict | None:
        """Returns what the metric finds in a completed line."""
        if isinstance(event, ProbeAnswered):
            return None
        return self.metric.query(event.conversation, event.index)


class ProbeReward(RewardTerm):
    """Asks questions on branches of the dialogue, and pays for the answers to its own.

    Attributes:
        place: Its place in the chain of probe_fns, which its questions carry.
    """

    def __init__(self, metric: QuestionAnswer, weight: float):
        super().__init__(metric.name, weight)
        self.metric, self.place = metric, 0

    def ask(self, conversations: Sequence[Conversation]) -> list[Probe | None]:
        """Returns for each dialogue the question to ask now, or None: environments call this."""
        return self.metric.schedule.ask(conversations)

    def query(self, event: Event) -> QueryOrVerdict | None:
        """Returns what to ask the judge about the answer to a question of this term."""
        if isinstance(event, LineCompleted) or event.probe.source != self.place:
            return None
        return answer_query(event.probe, event.text)


Asks: TypeAlias = Callable[[Sequence[QueryOrVerdict], Judge | None], list[Verdict]]
"""What `metrics.verdicts_on` does: one judge call for all querys."""


@dataclass(frozen=True, slots=True)
class RewardItem:
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


class RewardFunction:
    """The terms of one wrapper and the judge that they share.

    Args:
        terms: At least one.
        judge: A judge, its spec, or None if no term asks one.

    Raises:
        ValueError: If the spec names no judge that can be loaded.
    """

    def __init__(self, terms: Sequence[RewardTerm], judge: str | Judge | None):
        self.terms = tuple(terms)
        self.judge = None if judge is None else load_judge(judge)

    def joined(self, options: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """Returns reset options with the probe_fns among the terms added to their chain."""
        askers = [term for term in self.terms if isinstance(term, ProbeReward)]
        if not askers:
            return None if options is None else dict(options)
        chain = tuple((options or {}).get("probe_fns", ()))
        for place, term in enumerate(askers, len(chain)):
            term.place = place
        return {**(options or {}), "probe_fns": (*chain, *(term.ask for term in askers))}

    def queries(self, events: Sequence[Event]) -> list[QueryOrVerdict]:
        """Returns what each term with a part in them finds in these events, in the order in which it is asked."""
        return [query for _, _, query in self._due(events)]

    def pay(self, events: Sequence[Event], ask: Asks = verdicts_on) -> list[RewardItem]:
        """Returns what these events are worth by each term with a part in them; one judge call."""
        due = self._due(events)
        verdicts = ask([query for _, _, query in due], self.judge)
        return [
            RewardItem(number, term.name, verdict.value, term.pay(verdict))
            for (number, term, _), verdict in zip(due, verdicts, strict=True)
        ]

    def _due(self, events: Sequence[Event]) -> list[tuple[int, RewardTerm, QueryOrVerdict]]:
        return [
            (number, term, query)
            for number, event in enumerate(events)
            for term in self.terms
            if (query := term.query(event)) is not None
        ]


class RewardStats:
    """What a reward wrapper of any form tells about its payments.

    Attributes:
        reward_function: Its terms and their judge.
    """

    reward_function: RewardFunction

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each drift type by name."""
        return {term.name: term.weight for term in self.reward_function.terms}

    @property
    def judged(self) -> int:
        """How many verdicts could be read."""
        return sum(term.judged for term in self.reward_function.terms)

    @property
    def invalid(self) -> int:
        """How many verdicts could not be read; nothing is paid for them."""
        return sum(term.invalid for term in self.reward_function.terms)

    @property
    def invalid_by_name(self) -> dict[str, int]:
        """How many verdicts could not be read, by drift type."""
        return {term.name: term.invalid for term in self.reward_function.terms}
