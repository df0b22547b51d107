"""How consistent a simulator is: one metric per drift type or guard, all in [0, 1], 1 is good."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from persona_env.errors import InputError, printable
from persona_env.metrics.answer_metric import AnswerMetric
from persona_env.metrics.copying import Copying
from persona_env.metrics.evasion import Evasion
from persona_env.metrics.line_to_line import LineToLine, pair_score
from persona_env.metrics.metric import LineMetric, Metric, Score, evaluate, verdicts_on
from persona_env.metrics.probe_copying import ProbeCopying
from persona_env.metrics.probe_schedule import Answer, ProbeSchedule
from persona_env.metrics.prompt_to_line import PromptToLine
from persona_env.metrics.question_answer import QuestionAnswer, answer_query
from persona_env.metrics.relevance import Relevance
from persona_env.metrics.repetition import Repetition
from persona_env.metrics.role_flip import RoleFlip
from persona_env.registry import Registry, Spec

__all__ = [
    "METRICS",
    "Answer",
    "AnswerMetric",
    "Copying",
    "Evasion",
    "LineMetric",
    "LineToLine",
    "Metric",
    "ProbeCopying",
    "ProbeSchedule",
    "PromptToLine",
    "QuestionAnswer",
    "Relevance",
    "Repetition",
    "RoleFlip",
    "Score",
    "answer_query",
    "evaluate",
    "load_metric",
    "pair_score",
    "register_metric",
    "verdicts_on",
]

METRICS = Registry[Callable[..., Any]](
    "metric",
    {
        "prompt_to_line": "persona_env.metrics.prompt_to_line:PromptToLine",
        "line_to_line": "persona_env.metrics.line_to_line:LineToLine",
        "question_answer": "persona_env.metrics.question_answer:QuestionAnswer",
        "relevance": "persona_env.metrics.relevance:Relevance",
        "evasion": "persona_env.metrics.evasion:Evasion",
        "role_flip": "persona_env.metrics.role_flip:RoleFlip",
        "copying": "persona_env.metrics.copying:Copying",
        "probe_copying": "persona_env.metrics.probe_copying:ProbeCopying",
        "repetition": "persona_env.metrics.repetition:Repetition",
    },
)
"""All metrics by name, in the order in which tables show them."""


def register_metric(name: str, factory: Callable[..., Metric]) -> Callable[..., Metric]:
    """Adds a metric under its `name`, and returns its factory: the class, or a function of keyword options."""
    return METRICS.register(name, factory)


def load_metric(metric: str | Metric, **more: Any) -> Metric:
    """Returns the metric of a spec, with more options besides those in it; a metric is returned as it is.

    >>> load_metric("repetition?threshold=0.9")
    Repetition(threshold=0.9)
    """
    if isinstance(metric, Metric):
        return metric
    spec = Spec.parse(metric)
    options = more | {name: _value(text) for name, text in spec.options.items()}
    factory = METRICS[spec.kind]
    try:
        made = factory(*filter(None, [spec.rest]), **options)
    except TypeError as error:  # an option that it does not have, or of another type
        why = printable(str(error))[:120]
        raise InputError(f"Expected options of the metric {spec.kind!r}, got {why}: correct them.") from error
    if not isinstance(made, Metric) or made.name != spec.kind:
        raise InputError(f"Expected a Metric named {spec.kind!r}, got {made!r:.60}: register it under its own name.")
    return made


def _value(text: str) -> Any:
    """Returns the number or truth value that an option spells, or its text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.lower(), text)
