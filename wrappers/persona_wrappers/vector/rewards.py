"""The rewards around a vector environment, one class per drift type."""

from __future__ import annotations

from typing import Any

from gymnasium.vector import VectorEnv

from persona_env.judges.base import Judge
from persona_wrappers.copying import copying_term
from persona_wrappers.line_to_line import line_to_line_term
from persona_wrappers.prompt_to_line import prompt_to_line_term
from persona_wrappers.question_answer import question_answer_term
from persona_wrappers.relevance import relevance_term
from persona_wrappers.repetition import repetition_term
from persona_wrappers.vector.reward import VectorReward

__all__ = [
    "CopyPenalty",
    "LineToLineReward",
    "PromptToLineReward",
    "QuestionAnswerReward",
    "RelevanceReward",
    "RepetitionPenalty",
]

Env = VectorEnv[Any, Any, Any]


class PromptToLineReward(VectorReward):
    """Adds `weight` for each line that does not contradict the persona.

    >>> import gymnasium as gym, persona_env
    >>> envs = PromptToLineReward(gym.make_vec("persona_env/Patient-v0", num_envs=2))
    >>> _ = envs.reset(seed=0)
    >>> _, rewards, _, _, info = envs.step(("I am fine.", "I am fine."))
    >>> rewards.shape, info["consistency/prompt_to_line"].shape
    ((2,), (2,))
    """

    def __init__(self, env: Env, judge: str | Judge = "oracle", weight: float = 1.0):
        super().__init__(env, [prompt_to_line_term(weight)], judge)


class LineToLineReward(VectorReward):
    """Adds `weight` for each line that conflicts with none of the speaker's own earlier lines.

    >>> import gymnasium as gym, persona_env
    >>> envs = LineToLineReward(gym.make_vec("persona_env/Patient-v0", num_envs=2))
    >>> _ = envs.reset(seed=0)
    >>> _, rewards, _, _, info = envs.step(("I am fine.", "I am fine."))
    >>> rewards.shape, info["consistency/line_to_line"].shape
    ((2,), (2,))
    """

    def __init__(self, env: Env, judge: str | Judge = "oracle", weight: float = 1.0):
        super().__init__(env, [line_to_line_term(weight)], judge)


class QuestionAnswerReward(VectorReward):
    """Asks questions on branches of the dialogues and adds `weight` for each right answer.

    The arguments are those of `persona_wrappers.QuestionAnswerReward`.

    >>> import gymnasium as gym, persona_env
    >>> envs = gym.make_vec("persona_env/Patient-v0", num_envs=2)
    >>> envs = QuestionAnswerReward(envs, every=1)
    >>> _ = envs.reset(seed=0)
    >>> _ = envs.step(("I am fine.", "I am fine."))
    >>> envs.unwrapped.probing.tolist()  # the next actions are answers
    [True, True]
    """

    def __init__(
        self,
        env: Env,
        judge: str | Judge = "oracle",
        weight: float = 1.0,
        every: int | None = None,
        within: int | None = None,
        held_out: bool = False,
    ):
        term = question_answer_term(weight, env, every=every, within=within, held_out=held_out)
        super().__init__(env, [term], judge)


class RelevanceReward(VectorReward):
    """Adds `weight` for each line that responds to what was just heard, or openly declines to.

    >>> import gymnasium as gym, persona_env
    >>> envs = RelevanceReward(gym.make_vec("persona_env/Patient-v0", num_envs=2))
    >>> _ = envs.reset(seed=0)
    >>> _, rewards, _, _, info = envs.step(("I am fine.", "I am fine."))
    >>> rewards.shape, info["consistency/relevance"].shape
    ((2,), (2,))
    """

    def __init__(self, env: Env, judge: str | Judge = "oracle", weight: float = 1.0):
        super().__init__(env, [relevance_term(weight)], judge)


class CopyPenalty(VectorReward):
    """Takes `weight` off the reward for each line that recites the persona text unasked.

    >>> import gymnasium as gym, persona_env
    >>> envs = CopyPenalty(gym.make_vec("persona_env/Patient-v0", num_envs=2))
    >>> _ = envs.reset(seed=0)
    >>> _, rewards, _, _, info = envs.step(("I am fine.", "I am fine."))
    >>> rewards.shape, info["consistency/copying"].shape
    ((2,), (2,))
    """

    def __init__(self, env: Env, weight: float = 1.0):
        super().__init__(env, [copying_term(weight)], None)


class RepetitionPenalty(VectorReward):
    """Takes `weight` off the reward for each line that repeats one of the speaker's own.

    >>> import gymnasium as gym, persona_env
    >>> envs = RepetitionPenalty(gym.make_vec("persona_env/Patient-v0", num_envs=2))
    >>> _ = envs.reset(seed=0)
    >>> _, rewards, _, _, info = envs.step(("I am fine.", "I am fine."))
    >>> rewards.shape, info["consistency/repetition"].shape
    ((2,), (2,))
    """

    def __init__(self, env: Env, weight: float = 1.0, threshold: float | None = 0.8):
        super().__init__(env, [repetition_term(weight, threshold)], None)
