"""Asks the simulator about its persona on branches of the dialogue, and pays for right answers."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from persona_env.judges.base import Judge
from persona_env.metrics import QuestionAnswer
from persona_env.metrics.rewards import ProbeReward
from persona_wrappers.gym_reward import GymReward, lines_of

__all__ = ["QuestionAnswerReward", "question_answer_term"]


def question_answer_term(
    weight: float, env: Any, *, every: int | None, within: int | None, held_out: bool
) -> ProbeReward:
    """Returns what the three forms share: questions, and weight for each right answer."""
    lines = lines_of(env) if within is None else within
    return ProbeReward(QuestionAnswer(every=every, within=lines, held_out=held_out), weight)


class QuestionAnswerReward(GymReward):
    """Asks questions on branches of the dialogue and adds `weight` for each right answer.

    After some lines the learner's next observation is a question about its persona. What it does
    next is its answer, in the same action space; then the dialogue goes on as if nothing had
    happened. So any algorithm can be trained on it, without access to the policy. Which question
    is asked, and when, is a pure function of the dialogue.

    Args:
        env: A dialogue environment.
        judge: A judge or its spec.
        weight: At least 0.
        every: Ask after each `every`-th line; None: once per dialogue, after a pseudo-random line.
        within: Where it asks once: after one of the first `within` lines; None: any line of the
            longest dialogue of the environment.
        held_out: Ask in the wordings that are kept for evaluation.

    >>> import persona_env
    >>> env = QuestionAnswerReward(gym.make("persona_env/Patient-v0"), judge="oracle", every=1)
    >>> _, info = env.reset(seed=0)
    >>> _, _, _, _, info = env.step("I am not sure.")
    >>> _, reward, _, _, info = env.step("I don't know.")  # the answer to the question
    >>> info["consistency/question_answer"], reward
    (0.0, 0.0)
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        judge: str | Judge = "oracle",
        weight: float = 1.0,
        every: int | None = None,
        within: int | None = None,
        held_out: bool = False,
    ):
        term = question_answer_term(weight, env, every=every, within=within, held_out=held_out)
        super().__init__(env, term, judge, weight=weight, every=every, within=within, held_out=held_out)
