"""RewardStats for lines that do not contradict the persona."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from persona_env.judges.base import Judge
from persona_env.metrics import PromptToLine
from persona_env.metrics.rewards import LineReward
from persona_wrappers.gym_reward import GymReward

__all__ = ["PromptToLineReward", "prompt_to_line_term"]


def prompt_to_line_term(weight: float) -> LineReward:
    """Returns what the three forms share: weight for each line true to the persona."""
    return LineReward(PromptToLine(), weight)


class PromptToLineReward(GymReward):
    """Adds `weight` for each line that does not contradict the persona.

    A line that does is paid nothing, and so is one on which the verdict is invalid.

    Args:
        env: A dialogue environment.
        judge: A judge or its spec.
        weight: At least 0.

    >>> import persona_env
    >>> env = PromptToLineReward(gym.make("persona_env/Patient-v0"), judge="oracle", weight=0.5)
    >>> _ = env.reset(seed=0)
    >>> _, reward, _, _, info = env.step("I am a language model, so I have no feelings.")
    >>> info["consistency/prompt_to_line"], reward
    (0.0, 0.0)
    """

    def __init__(self, env: gym.Env[Any, Any], judge: str | Judge = "oracle", weight: float = 1.0):
        super().__init__(env, prompt_to_line_term(weight), judge, weight=weight)
