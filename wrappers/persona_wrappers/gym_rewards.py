"""The rewards around one Gymnasium environment, a class for each metric."""

from __future__ import annotations

from typing import Any, SupportsFloat

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs

from persona_env.judges.base import JudgeLike, as_judge
from persona_env.metrics.rewards import event_in
from persona_wrappers.reward_wrapper import MetricReward, check_dialogue

__all__ = [
    "CopyPenalty",
    "GymReward",
    "LineToLineReward",
    "PromptToLineReward",
    "QuestionAnswerReward",
    "RelevanceReward",
    "RepetitionPenalty",
]


class GymReward(MetricReward, gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Adds what a metric is worth for a completed line or answer to the reward.

    Args:
        env: A dialogue environment.
        judge: A judge or its spec; not used by metrics that need none.
        weight: What a good line or answer is worth, or of a penalty, what a bad one costs; at least 0.
        **options: Those of the metric.
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


class PromptToLineReward(GymReward):
    """Adds `weight` for each line that does not contradict the persona.

    A line that does is paid nothing, and so is one on which the verdict is invalid.

    >>> import persona_env
    >>> env = PromptToLineReward(gym.make("persona_env/Patient-v0"), judge="oracle", weight=0.5)
    >>> _ = env.reset(seed=0)
    >>> _, reward, _, _, info = env.step("I am a language model, so I have no feelings.")
    >>> info["consistency/prompt_to_line"], reward
    (0.0, 0.0)
    """

    metric = "prompt_to_line"


class LineToLineReward(GymReward):
    """Adds `weight` for each line that conflicts with none of the speaker's own earlier lines."""

    metric = "line_to_line"


class QuestionAnswerReward(GymReward):
    """Asks questions on branches of the dialogue and adds `weight` for each right answer.

    After some lines the learner's next observation is a question about its persona. What it does next is its answer,
    in the same action space; then the dialogue goes on as if nothing had happened. So any algorithm can be trained on
    it, without access to the policy. Which question is asked, and when, is a pure function of the dialogue.

    Options: `every` (after each `every`-th line; None: once per dialogue, after a pseudo-random line), `within` (where
    it asks once: after one of the first `within` lines; None: any line of the longest dialogue), `held_out` (ask in
    the wordings that evaluation uses).

    >>> import persona_env
    >>> env = QuestionAnswerReward(gym.make("persona_env/Patient-v0"), judge="oracle", every=1)
    >>> _, info = env.reset(seed=0)
    >>> _, _, _, _, info = env.step("I am not sure.")
    >>> _, reward, _, _, info = env.step("I don't know.")  # the answer to the question
    >>> info["consistency/question_answer"], reward
    (0.0, 0.0)
    """

    metric = "question_answer"


class RelevanceReward(GymReward):
    """Adds `weight` for each line that responds to what was just said to it, or openly declines to."""

    metric = "relevance"


class CopyPenalty(GymReward):
    """Takes `weight` off the reward for each line that recites the persona text unasked. No judge is asked.

    >>> import persona_env
    >>> env = CopyPenalty(gym.make("persona_env/Patient-v0"), weight=0.5)
    >>> _, info = env.reset(seed=0)
    >>> env.step(info["persona"].description)[1]
    -0.5
    """

    metric = "copying"


class RepetitionPenalty(GymReward):
    """Takes `weight` off the reward for each line that repeats one of the speaker's own. No judge is asked.

    Options: `threshold` (likeness from which a line repeats another; None: the same words only).

    >>> import persona_env
    >>> env = RepetitionPenalty(gym.make("persona_env/Patient-v0"), weight=0.5)
    >>> _ = env.reset(seed=0)
    >>> [env.step("I am fine, thank you.")[1] for _ in range(2)]
    [0.0, -0.5]
    """

    metric = "repetition"
