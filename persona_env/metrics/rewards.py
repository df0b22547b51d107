"""Rewards from consistency metrics: events of a dialogue in, rewards out.

The core of all reward wrappers, training loops and hosts: an environment tells what a step completed, and
`RewardFunction` asks the judge about it once and says what it is worth.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from persona_env.conversation import Conversation, Event, LineCompleted, Probe, ProbeAnswered
from persona_env.errors import InputError
from persona_env.judges import load_judge
from persona_env.judges.base import JudgeLike, Verdict
from persona_env.metrics import METRICS, load_metric
from persona_env.metrics.metric import LineMetric, Metric, QueryOrVerdict, verdicts_on
from persona_env.metrics.question_answer import QuestionAnswer, answer_query

__all__ = [
    "DueQuery",
    "LineReward",
    "ProbeReward",
    "RewardFunction",
    "RewardItem",
    "RewardStats",
    "RewardTerm",
    "event_in",
    "reward_term",
    "weighted_terms",
]


def event_in(info: Mapping[str, Any]) -> Event | None:
    """Returns what one step completed, as its info tells it; None if nothing."""
    if "answer" in info:
        return ProbeAnswered(info["probe"], info["answer"])
    if "line" in info:
        return LineCompleted(info["conversation"], info["line_index"])
    return None


class RewardTerm(ABC):
    """A metric, its weight, and how many verdicts it has had.

    Attributes:
        name: The metric's, as in `info["consistency/<name>"]`.
        weight: What a good line or answer is worth; of a penalty, what a bad one costs.
        is_penalty: Whether bad is punished (0 or -weight) rather than good paid (weight or 0).
        judged: How many verdicts could be read.
        invalid: How many could not; nothing is paid for them.
    """

    def __init__(self, metric: Metric, weight: float):
        if not (math.isfinite(weight) and weight >= 0.0):
            remedy = "a penalty has its sign already" if math.isfinite(weight) else "give a finite number"
            raise InputError(f"Expected weight >= 0 for {metric.name}, got {weight}: {remedy}.")
        self.name, self.is_penalty, self.is_judged = metric.name, metric.is_penalty, metric.is_judged
        self.weight = float(weight)
        self.judged = self.invalid = 0

    @abstractmethod
    def query(self, event: Event) -> QueryOrVerdict | None:
        """Returns what to judge about an event, or None if this term has no part in it."""

    def reward(self, verdict: Verdict) -> float:
        """Counts a verdict and returns its reward: in [0, weight], or [-weight, 0] of a penalty."""
        value = verdict.value
        if math.isnan(value):
            self.invalid += 1
            return 0.0
        self.judged += 1
        return self.weight * (value - 1.0 if self.is_penalty else value)


class LineReward(RewardTerm):
    """Rewards each completed line by a metric of lines."""

    def __init__(self, metric: LineMetric, weight: float):
        super().__init__(metric, weight)
        self.metric = metric

    def query(self, event: Event) -> QueryOrVerdict | None:
        """Returns what the metric asks about a completed line."""
        return self.metric.query(event.conversation, event.index) if isinstance(event, LineCompleted) else None


class ProbeReward(RewardTerm):
    """Asks questions on branches of the dialogue, and rewards the answers to its own.

    Attributes:
        source: Its place among the environment's `probe_fns`, which its probes carry.
    """

    def __init__(self, metric: QuestionAnswer, weight: float):
        super().__init__(metric, weight)
        self.metric, self.source = metric, 0

    def ask(self, conversations: Sequence[Conversation]) -> list[Probe | None]:
        """Returns for each dialogue the question to ask now, or None: environments call this."""
        return self.metric.schedule.ask(conversations)

    def query(self, event: Event) -> QueryOrVerdict | None:
        """Returns what to ask the judge about the answer to a probe of this term."""
        if isinstance(event, LineCompleted) or event.probe.source != self.source:
            return None
        return answer_query(event.probe, event.text)


def reward_term(metric: Metric, weight: float) -> RewardTerm:
    """Returns the reward of a metric.

    Raises:
        InputError: If the weight is negative or not finite, or the metric judges neither lines nor answers.
    """
    if isinstance(metric, LineMetric):
        return LineReward(metric, weight)
    if isinstance(metric, QuestionAnswer):
        return ProbeReward(metric, weight)
    raise InputError(f"Expected a metric of lines or of answers, got {metric!r:.60}: rewards are paid for these.")


def weighted_terms(
    weights: Mapping[str | Metric, float], options: Mapping[str, Mapping[str, Any]] | None = None
) -> list[RewardTerm]:
    """Returns the rewards of several metrics, in the order of `METRICS`.

    Args:
        weights: The weight of each metric, by name, by spec (`repetition?threshold=0.9`) or by the metric itself.
        options: Options of the metrics that are given by their bare name, by that name.

    Raises:
        InputError: If there is no weight, or two of one metric, or a metric is unknown.
    """
    made = [load_metric(one, **(options or {}).get(one, {})) if isinstance(one, str) else one for one in weights]
    names = [metric.name for metric in made]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"Expected one weight each, got two of {', '.join(twice)}: give one.")
    if not names:
        raise InputError("Expected at least one weight, got none: such as prompt_to_line=1.0.")
    order = {name: place for place, name in enumerate(METRICS)}
    terms = [reward_term(metric, weight) for metric, weight in zip(made, weights.values(), strict=True)]
    return sorted(terms, key=lambda term: order.get(term.name, len(order)))


class DueQuery(NamedTuple):
    """What a term asks about one of a step's events: the number of the event, the term, the query."""

    number: int
    term: RewardTerm
    query: QueryOrVerdict


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
    """Several terms and the judge that they share.

    Args:
        terms: At least one.
        judge: A judge or its spec; not loaded if no term asks one.

    Raises:
        InputError: If the spec names no judge that can be loaded.

    >>> from persona_env.metrics import Repetition
    >>> from persona_env.persona import Persona
    >>> function = RewardFunction([reward_term(Repetition(), 0.5)])
    >>> talk = Conversation(Persona("p", "patient", "Ann", "You are Ann.")).with_line("Yes.").with_line("Yes.")
    >>> function.reward([LineCompleted(talk, 1)])[0].reward
    -0.5
    """

    def __init__(self, terms: Sequence[RewardTerm], judge: str | JudgeLike | None = None):
        self.terms = tuple(terms)
        is_judged = any(term.is_judged for term in self.terms)
        self.judge = load_judge(judge) if judge is not None and is_judged else None

    def with_probes(self, options: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """Returns reset options with the terms that ask probes among the `probe_fns`."""
        probing = [term for term in self.terms if isinstance(term, ProbeReward)]
        if not probing:
            return None if options is None else dict(options)
        before = tuple((options or {}).get("probe_fns", ()))
        for source, term in enumerate(probing, len(before)):
            term.source = source
        return {**(options or {}), "probe_fns": (*before, *(term.ask for term in probing))}

    def due(self, events: Sequence[Event]) -> list[DueQuery]:
        """Returns what each term with a part in them asks about these events."""
        return [
            DueQuery(number, term, query)
            for number, event in enumerate(events)
            for term in self.terms
            if (query := term.query(event)) is not None
        ]

    def items(self, due: Sequence[DueQuery], verdicts: Sequence[Verdict]) -> list[RewardItem]:
        """Counts the verdicts on what was due and returns what they are worth."""
        return [
            RewardItem(number, term.name, verdict.value, term.reward(verdict))
            for (number, term, _), verdict in zip(due, verdicts, strict=True)
        ]

    def reward(self, events: Sequence[Event]) -> list[RewardItem]:
        """Returns what these events are worth by each term with a part in them; one judge call."""
        due = self.due(events)
        return self.items(due, verdicts_on([query for _, _, query in due], self.judge))


class RewardStats:
    """What a reward wrapper of any form tells about its rewards.

    Attributes:
        reward_function: Its terms and their judge.
    """

    reward_function: RewardFunction

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each metric by name."""
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
        """How many verdicts could not be read, by metric."""
        return {term.name: term.invalid for term in self.reward_function.terms}
