"""Several drift types at once: one judge batch per step for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gymnasium.vector import VectorEnv

from persona_env.errors import InputError
from persona_env.judges.base import Judge
from persona_env.metrics.rewards import RewardTerm
from persona_wrappers.copying import copying_term
from persona_wrappers.line_to_line import line_to_line_term
from persona_wrappers.prompt_to_line import prompt_to_line_term
from persona_wrappers.question_answer import question_answer_term
from persona_wrappers.relevance import relevance_term
from persona_wrappers.repetition import repetition_term
from persona_wrappers.vector.reward import VectorReward

__all__ = ["ConsistencyRewards"]


class ConsistencyRewards(VectorReward):
    """Adds the rewards and penalties of several drift types, asking the judge once per step.

    The sum is that of the single wrappers, stacked in any order.

    Args:
        env: A vector environment of dialogues.
        weights: The weight of each drift type by name (`prompt_to_line`, `line_to_line`,
            `question_answer`, `relevance`, `copying`, `repetition`), each at least 0. One with
            weight 0 is judged and written to the info, and not paid for.
        judge: A judge or its spec.
        every: Of the questions: see `persona_wrappers.QuestionAnswerReward`.
        within: Of the questions.
        held_out: Of the questions.
        threshold: Of repetitions.
        **more: Weights as keywords.

    >>> import gymnasium as gym, persona_env
    >>> envs = gym.make_vec("persona_env/Patient-v0", num_envs=2)
    >>> envs = ConsistencyRewards(envs, {"prompt_to_line": 1.0, "copying": 0.5}, line_to_line=0.3)
    >>> _ = envs.reset(seed=0)
    >>> _, rewards, _, _, info = envs.step(("I am fine.", "I am fine."))
    >>> sorted(key for key in info if key.startswith("consistency"))
    ['consistency/copying', 'consistency/line_to_line', 'consistency/prompt_to_line']
    """

    def __init__(
        self,
        env: VectorEnv[Any, Any, Any],
        weights: Mapping[str, float] | None = None,
        judge: str | Judge = "oracle",
        *,
        every: int | None = None,
        within: int | None = None,
        held_out: bool = False,
        threshold: float | None = 0.8,
        **more: float,
    ):
        def question_answer(weight: float) -> RewardTerm:
            return question_answer_term(weight, env, every=every, within=within, held_out=held_out)

        kinds: dict[str, Callable[[float], RewardTerm]] = {
            "prompt_to_line": prompt_to_line_term,
            "line_to_line": line_to_line_term,
            "question_answer": question_answer,
            "relevance": relevance_term,
            "copying": copying_term,
            "repetition": lambda weight: repetition_term(weight, threshold),
        }
        merged = _merged(weights or {}, more, list(kinds))
        terms = [kinds[name](weight) for name, weight in merged.items()]
        super().__init__(env, terms, judge)


def _merged(weights: Mapping[str, float], more: Mapping[str, float], known: list[str]) -> dict[str, float]:
    """Returns all weights by name, in the order of `known`."""
    unknown = sorted((weights.keys() | more.keys()) - set(known))
    if unknown:
        raise InputError(f"Expected weights of {', '.join(known)}, got {', '.join(unknown)}: use these names.")
    twice = sorted(weights.keys() & more.keys())
    if twice:
        raise InputError(f"Expected one weight each, got two of {', '.join(twice)}: give one.")
    if not weights and not more:
        raise InputError("Expected at least one weight, got none: such as prompt_to_line=1.0.")
    given = {**weights, **more}
    return {name: given[name] for name in known if name in given}
