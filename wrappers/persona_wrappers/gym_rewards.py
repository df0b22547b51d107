"""The rewards around one Gymnasium environment, a class for each metric."""

from __future__ import annotations

from typing import Any, SupportsFloat

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs

from persona_env.judges.base import JudgeLike, as_judge
from persona_env.metrics.rewards import event_in
from persona_wrappers.reward_wrapper import MetricReward, check_dialogue, reward_class

__all__ = [
    "CopyPenalty",
    "EvasionPenalty",
    "GymReward",
    "LineToLineReward",
    "PromptToLineReward",
    "QuestionAnswerReward",
    "RelevanceReward",
    "RepetitionPenalty",
    "RoleFlipPenalty",
]


class GymReward(MetricReward, gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Adds what a metric is worth for a completed line or answer to the reward.

    `weight`, at least 0, is what a good one is worth, or of a penalty, what a bad one costs; the options are those of
    the metric.

    >>> import persona_env
    >>> env = PromptToLineReward(gym.make("persona_env/Patient-v0"), judge="oracle", weight=0.5)
    >>> _ = env.reset(seed=0)
    >>> _, reward, _, _, info = env.step("Everything is perfect, you cured me!")
    >>> info["consistency/prompt_to_line"], reward
    (0.0, 0.0)
    """

    def __init__(
        self, env: gym.Env[Any, Any], judge: str | JudgeLike = "oracle", *, weight: float = 1.0, **options: Any
    ):
        self.reward_function = self._function(env, judge, weight, options)
        recorded = judge if isinstance(judge, str) else as_judge(judge)  # copies of the spec share the judge
        if self.reward_function.judge is not None:
            options["judge"] = recorded
        RecordConstructorArgs.__init__(self, weight=weight, **options)
        gym.Wrapper.__init__(self, env)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Resets the environment; a reward for answers asks its probes from then on."""
        observation, info = self.env.reset(seed=seed, options=self.reward_function.with_probes(options))
        check_dialogue(info, self.env)
        return observation, info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Steps the environment and adds to its reward and info."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        event = event_in(info)
        if event is None:
            return observation, reward, terminated, truncated, info
        total, info = float(reward), dict(info)
        for item in self.reward_function.reward([event]):
            total += item.reward
            info[item.key] = item.value
        return observation, total, terminated, truncated, info


PromptToLineReward = reward_class(GymReward, "PromptToLineReward")
LineToLineReward = reward_class(GymReward, "LineToLineReward")
QuestionAnswerReward = reward_class(GymReward, "QuestionAnswerReward")
RelevanceReward = reward_class(GymReward, "RelevanceReward")
EvasionPenalty = reward_class(GymReward, "EvasionPenalty")
RoleFlipPenalty = reward_class(GymReward, "RoleFlipPenalty")
CopyPenalty = reward_class(GymReward, "CopyPenalty")
RepetitionPenalty = reward_class(GymReward, "RepetitionPenalty")
