"""Rewards from consistency metrics, the core of all wrappers and training loops: events in, rewards out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from persona_env.conversation import Event, LineCompleted, ProbeAnswered
from persona_env.errors import InputError
from persona_env.judges import load_judge
from persona_env.judges.base import JudgeLike, Verdict, VerdictCounts
from persona_env.metrics import METRICS, load_metric
from persona_env.metrics.answer_metric import AnswerMetric
from persona_env.metrics.metric import LineMetric, Metric, QueryOrVerdict, verdicts_on

__all__ = ["DueQuery", "RewardFunction", "RewardItem", "RewardStats", "RewardTerm", "event_in", "weighted_terms"]


def event_in(info: Mapping[str, Any]) -> Event | None:
    """Returns what one step completed, as its info tells it; None if nothing."""
    if "answer" in info:
        return ProbeAnswered(info["probe"], info["answer"])
    if "line" in info:
        return LineCompleted(info["conversation"], info["line_index"])
    return None


class RewardTerm:
    """A metric of lines or of answers, and what a good one is worth, at least 0; of a penalty, what a bad one costs."""

    def __init__(self, metric: Metric, weight: float):
        if not isinstance(metric, LineMetric | AnswerMetric):
            raise InputError(
                f"Expected a metric of lines or of answers, got {metric!r:.60}: rewards are paid for these."
            )
        if not (math.isfinite(weight) and weight >= 0.0):
            remedy = "a penalty has its sign already" if math.isfinite(weight) else "give a finite number"
            raise InputError(f"Expected weight >= 0 for {metric.name}, got {weight}: {remedy}.")
        self.metric, self.name, self.weight = metric, metric.name, float(weight)
        self.source = 0  # the place of its questions among the environment's `probe_fns`, which its probes carry
        self.counts = VerdictCounts()  # of its verdicts; only those that decide pay

    def query(self, event: Event) -> QueryOrVerdict | None:
        """Returns what to judge about a line, or the answer to a probe of its own; None if it has no part in these."""
        if isinstance(self.metric, LineMetric):
            return self.metric.query(event.conversation, event.index) if isinstance(event, LineCompleted) else None
        if isinstance(event, LineCompleted) or event.probe.source != self.source:
            return None
        return self.metric.query(event.probe, event.text)

    def reward(self, verdict: Verdict) -> float:
        """Counts a verdict and returns its reward: in [0, weight], or [-weight, 0] of a penalty."""
        self.counts += VerdictCounts.of([verdict])
        value = verdict.value
        if math.isnan(value):
            return 0.0
        return self.weight * (value - 1.0 if self.metric.is_penalty else value)


def weighted_terms(
    weights: Mapping[str | Metric, float], options: Mapping[str, Mapping[str, Any]] | None = None
) -> list[RewardTerm]:
    """Returns the rewards of several metrics, named by name, spec or the metric itself, in the order of `METRICS`.

    The options are those of metrics that are given by their bare name, by that name.
    """
    made = [load_metric(one, **(options or {}).get(one, {})) if isinstance(one, str) else one for one in weights]
    names = [metric.name for metric in made]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"Expected one weight each, got two of {', '.join(twice)}: give one.")
    if not names:
        raise InputError("Expected at least one weight, got none: such as prompt_to_line=1.0.")
    order = {name: place for place, name in enumerate(METRICS)}
    terms = [RewardTerm(metric, weight) for metric, weight in zip(made, weights.values(), strict=True)]
    return sorted(terms, key=lambda term: order.get(term.name, len(order)))


class DueQuery(NamedTuple):
    """What a term asks about one of a step's events: the number of the event, the term, the query."""

    number: int
    term: RewardTerm
    query: QueryOrVerdict


class RewardItem(NamedTuple):
    """What the event of this number is worth by one term: 1.0 good, 0.0 bad, nan neither, and the reward for it."""

    number: int
    name: str
    value: float
    reward: float

    @property
    def key(self) -> str:
        """Where the value stands in an info."""
        return f"consistency/{self.name}"


class RewardFunction:
    """Several terms and the judge that they share: a judge or its spec, which is not loaded if no term asks one.

    >>> from persona_env.conversation import Conversation
    >>> from persona_env.metrics import Repetition
    >>> from persona_env.persona import Persona
    >>> function = RewardFunction([RewardTerm(Repetition(), 0.5)])
    >>> talk = Conversation(Persona("p", "patient", "Ann", "You are Ann.")).with_line("Yes.").with_line("Yes.")
    >>> function.reward([LineCompleted(talk, 1)])[0].reward
    -0.5
    """

    def __init__(self, terms: Sequence[RewardTerm], judge: str | JudgeLike | None = None):
        self.terms = tuple(terms)
        is_judged = any(term.metric.is_judged for term in self.terms)
        self.judge = load_judge(judge) if judge is not None and is_judged else None

    def with_probes(self, options: dict[str, Any] | None) -> dict[str, Any] | None:
        """Returns reset options with the questions of its terms among the `probe_fns`."""
        probe_fns = [*(options or {}).get("probe_fns", ())]
        for term in self.terms:
            if isinstance(term.metric, AnswerMetric):
                term.source = len(probe_fns)
                probe_fns.append(term.metric.schedule.ask)
        return {**(options or {}), "probe_fns": tuple(probe_fns)} if probe_fns else options

    def due(self, events: Sequence[Event]) -> list[DueQuery]:
        """Returns what each term with a part in them asks about these events."""
        return [
            DueQuery(number, term, query)
            for number, event in enumerate(events)
            for term in self.terms
            if (query := term.query(event)) is not None
        ]

    def items(self, due: Sequence[DueQuery], verdicts: Sequence[Verdict]) -> list[RewardItem]:
        """Counts the verdicts on what was due and returns what they are worth; nothing where nothing was to judge."""
        return [
            RewardItem(number, term.name, verdict.value, term.reward(verdict))
            for (number, term, _), verdict in zip(due, verdicts, strict=True)
            if verdict.applies
        ]

    def reward(self, events: Sequence[Event]) -> list[RewardItem]:
        """Returns what these events are worth by each term with a part in them; one judge call."""
        due = self.due(events)
        return self.items(due, verdicts_on([query for _, _, query in due], self.judge))


class RewardStats:
    """What a reward wrapper of any form tells about the rewards of its `reward_function`."""

    reward_function: RewardFunction

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each metric by name."""
        return {term.name: term.weight for term in self.reward_function.terms}

    @property
    def counts(self) -> VerdictCounts:
        """How many verdicts there were of each sort."""
        return sum((term.counts for term in self.reward_function.terms), VerdictCounts())

    @property
    def judged(self) -> int:
        """How many verdicts decided."""
        return self.counts.judged

    @property
    def undecided(self) -> int:
        """How many verdicts contradicted themselves; nothing is paid for them."""
        return self.counts.undecided

    @property
    def invalid(self) -> int:
        """How many verdicts could not be read; nothing is paid for them."""
        return self.counts.invalid
