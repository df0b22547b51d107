"""The rewards around a PettingZoo AEC environment, one class per drift type."""

from __future__ import annotations

from typing import Any

from pettingzoo import AECEnv

from persona_env.judges.base import Judge
from persona_wrappers.aec.reward import AECReward
from persona_wrappers.copying import copying_term
from persona_wrappers.line_to_line import line_to_line_term
from persona_wrappers.prompt_to_line import prompt_to_line_term
from persona_wrappers.question_answer import question_answer_term
from persona_wrappers.relevance import relevance_term
from persona_wrappers.repetition import repetition_term

__all__ = [
    "CopyPenalty",
    "LineToLineReward",
    "PromptToLineReward",
    "QuestionAnswerReward",
    "RelevanceReward",
    "RepetitionPenalty",
]

Env = AECEnv[Any, Any, Any]


class PromptToLineReward(AECReward):
    """Adds `weight` for each line that does not contradict the persona.

    >>> from persona_env import dialogue_v0
    >>> aec = PromptToLineReward(dialogue_v0.env(role="patient"))
    >>> aec.reset(seed=0)
    >>> aec.step("How are you?")  # the task agent opens
    >>> aec.step("I am fine.")
    >>> aec.infos["simulator_0"]["consistency/prompt_to_line"] in (0.0, 1.0)
    True
    """

    def __init__(self, env: Env, judge: str | Judge = "oracle", weight: float = 1.0):
        super().__init__(env, [prompt_to_line_term(weight)], judge)


class LineToLineReward(AECReward):
    """Adds `weight` for each line that conflicts with none of the speaker's own earlier lines.

    >>> from persona_env import dialogue_v0
    >>> aec = LineToLineReward(dialogue_v0.env(role="patient"))
    >>> aec.reset(seed=0)
    >>> aec.step("How are you?")  # the task agent opens
    >>> aec.step("I am fine.")
    >>> aec.infos["simulator_0"]["consistency/line_to_line"] in (0.0, 1.0)
    True
    """

    def __init__(self, env: Env, judge: str | Judge = "oracle", weight: float = 1.0):
        super().__init__(env, [line_to_line_term(weight)], judge)


class QuestionAnswerReward(AECReward):
    """Asks questions on branches of the dialogue and adds `weight` for each right answer.

    The arguments are those of `persona_wrappers.QuestionAnswerReward`.

    >>> from persona_env import dialogue_v0
    >>> aec = QuestionAnswerReward(dialogue_v0.env(role="patient"), every=1)
    >>> aec.reset(seed=0)
    >>> aec.step("How are you?")  # the task agent opens
    >>> aec.step("I am fine.")
    >>> aec.agent_selection  # its next action is an answer
    'simulator_0'
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


class RelevanceReward(AECReward):
    """Adds `weight` for each line that responds to what was just heard, or openly declines to.

    >>> from persona_env import dialogue_v0
    >>> aec = RelevanceReward(dialogue_v0.env(role="patient"))
    >>> aec.reset(seed=0)
    >>> aec.step("How are you?")  # the task agent opens
    >>> aec.step("I am fine.")
    >>> aec.infos["simulator_0"]["consistency/relevance"] in (0.0, 1.0)
    True
    """

    def __init__(self, env: Env, judge: str | Judge = "oracle", weight: float = 1.0):
        super().__init__(env, [relevance_term(weight)], judge)


class CopyPenalty(AECReward):
    """Takes `weight` off the reward for each line that recites the persona text unasked.

    >>> from persona_env import dialogue_v0
    >>> aec = CopyPenalty(dialogue_v0.env(role="patient"))
    >>> aec.reset(seed=0)
    >>> aec.step("How are you?")  # the task agent opens
    >>> aec.step("I am fine.")
    >>> aec.infos["simulator_0"]["consistency/copying"] in (0.0, 1.0)
    True
    """

    def __init__(self, env: Env, weight: float = 1.0):
        super().__init__(env, [copying_term(weight)], None)


class RepetitionPenalty(AECReward):
    """Takes `weight` off the reward for each line that repeats one of the speaker's own.

    >>> from persona_env import dialogue_v0
    >>> aec = RepetitionPenalty(dialogue_v0.env(role="patient"))
    >>> aec.reset(seed=0)
    >>> aec.step("How are you?")  # the task agent opens
    >>> aec.step("I am fine.")
    >>> aec.infos["simulator_0"]["consistency/repetition"] in (0.0, 1.0)
    True
    """

    def __init__(self, env: Env, weight: float = 1.0, threshold: float | None = 0.8):
        super().__init__(env, [repetition_term(weight, threshold)], None)
