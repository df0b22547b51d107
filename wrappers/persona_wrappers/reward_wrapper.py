"""What the three forms of a reward wrapper share: the metric, its options, and the reward function made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from persona_env.errors import InputError
from persona_env.judges.base import JudgeLike
from persona_env.metrics import load_metric
from persona_env.metrics.rewards import RewardFunction, RewardStats, RewardTerm, reward_term

__all__ = ["MetricReward", "check_dialogue", "metric_options"]


class MetricReward(RewardStats):
    """Base of the wrappers that reward one metric, each in the form of its environment.

    Attributes:
        metric: The name of the metric. A subclass in which it is that of a registered metric is a reward wrapper.
    """

    metric: ClassVar[str]

    def _function(self, env: Any, judge: str | JudgeLike, weight: float, options: Mapping[str, Any]) -> RewardFunction:
        """Returns the reward function of this wrapper around an environment."""
        own = metric_options(self.metric, env, options)
        term: RewardTerm = reward_term(load_metric(self.metric, **own), weight)
        return RewardFunction([term], judge)


def metric_options(name: str, env: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options of a metric as a reward uses it: by default, questions come after any line of a dialogue."""
    if name != "question_answer":
        return dict(options)
    within = options.get("within")
    return {"held_out": False, **options, "within": _lines_of(env) if within is None else within}


def _lines_of(env: Any) -> int:
    """Returns how many lines a dialogue of an environment, or of a vector of them, has at most."""
    inside = env.unwrapped
    try:
        return int(inside.max_lines)
    except AttributeError:
        pass
    try:
        return int(max(inside.get_attr("max_lines")))  # Gymnasium's own vectors
    except AttributeError:
        raise InputError(f"Expected a dialogue environment, got {env}, which has no max_lines: give within=.") from None


def check_dialogue(info: Mapping[str, Any], env: object) -> None:
    """Raises InputError if a reset info is not that of a dialogue environment."""
    if "persona" not in info:
        raise InputError(
            f"Expected a dialogue environment, got {env}, whose reset info has no 'persona': wrap one of persona_env."
        )
