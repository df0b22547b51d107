"""What the three forms of a reward wrapper share: the table of their classes, the metric and its options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from persona_env.errors import InputError
from persona_env.judges.base import JudgeLike
from persona_env.metrics import load_metric
from persona_env.metrics.rewards import RewardFunction, RewardStats, RewardTerm

__all__ = ["MetricReward", "check_dialogue", "metric_options", "reward_class"]

_CLASSES = {
    "PromptToLineReward": ("prompt_to_line", "Adds `weight` for each line that does not contradict the persona."),
    "LineToLineReward": (
        "line_to_line",
        "Adds `weight` for each line that conflicts with none of the speaker's own earlier lines.",
    ),
    "QuestionAnswerReward": (
        "question_answer",
        """Asks questions on branches of the dialogue and adds `weight` for each right answer.

        After some lines the learner's next observation is a question about its persona. What it does next is its
        answer, in the same action space; then the dialogue goes on as if nothing had happened. Which question is asked,
        and when, is a pure function of the dialogue.

        Options: `every` (after each `every`-th line; None: once per dialogue, after a pseudo-random line), `within`
        (where it asks once: after one of the first `within` lines; None: any line of the longest dialogue), `held_out`
        (ask in the wordings that evaluation uses).
        """,
    ),
    "RelevanceReward": (
        "relevance",
        "Adds `weight` for each line that responds to what was just said to it, or openly declines to.",
    ),
    "EvasionPenalty": (
        "evasion",
        "Takes `weight` off the reward for each line that dodges a question which the persona's text answers.",
    ),
    "RoleFlipPenalty": (
        "role_flip",
        "Takes `weight` off the reward for each line that leaves the role: as the other side or as a language model.",
    ),
    "CopyPenalty": (
        "copying",
        "Takes `weight` off the reward for each line that recites the persona text unasked. No judge is asked.",
    ),
    "RepetitionPenalty": (
        "repetition",
        """Takes `weight` off the reward for each line that repeats one of the speaker's own. No judge is asked.

        Options: `threshold` (likeness from which a line repeats another; None: the same words only).
        """,
    ),
}


class MetricReward(RewardStats):
    """Base of the wrappers that reward one metric, named by `metric`, each in the form of its environment."""

    metric: ClassVar[str]

    def _function(self, env: Any, judge: str | JudgeLike, weight: float, options: Mapping[str, Any]) -> RewardFunction:
        """Returns the reward function of this wrapper around an environment."""
        metric = load_metric(self.metric, **metric_options(self.metric, env, options))
        return RewardFunction([RewardTerm(metric, weight)], judge)


Form = TypeVar("Form", bound=MetricReward)


def reward_class(form: type[Form], name: str) -> type[Form]:
    """Returns the reward wrapper of this name in a form; it belongs to the module of the form."""
    metric, doc = _CLASSES[name]
    made: Any = type(name, (form,), {"metric": metric, "__doc__": doc, "__module__": form.__module__})
    return made


def metric_options(name: str, env: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options of a metric as a reward uses it: by default, questions come after any line of a dialogue."""
    if name != "question_answer":
        return dict(options)
    within = options.get("within")
    return {"held_out": False, **options, "within": _lines_of(env) if within is None else within}


def _lines_of(env: Any) -> int:
    """Returns how many lines a dialogue has at most, in an environment or a vector of them (Gymnasium's own, too)."""
    inside = env.unwrapped
    try:
        return int(inside.max_lines if hasattr(inside, "max_lines") else max(inside.get_attr("max_lines")))
    except AttributeError:
        raise InputError(f"Expected a dialogue environment, got {env}, which has no max_lines: give within=.") from None


def check_dialogue(info: Mapping[str, Any], env: object) -> None:
    """Raises InputError if a reset info is not that of a dialogue environment."""
    if "persona" not in info:
        raise InputError(
            f"Expected a dialogue environment, got {env}, whose reset info has no 'persona': wrap one of persona_env."
        )
