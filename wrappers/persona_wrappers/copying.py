"""Punishes lines that recite the persona text beyond what was asked."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from persona_env.metrics import Copying
from persona_env.metrics.rewards import LineReward
from persona_wrappers.gym_reward import GymReward

__all__ = ["CopyPenalty", "copying_term"]


def copying_term(weight: float) -> LineReward:
    """Returns what the three forms share: -weight for each line that recites."""
    return LineReward(Copying(), weight, penalty=True)


class CopyPenalty(GymReward):
    """Takes `weight` off the reward for each line that recites the persona text unasked.

    `info["consistency/copying"]` is 0.0 for such a line and 1.0 for any other. No judge is asked.

    Args:
        env: A dialogue environment.
        weight: At least 0.

    >>> import persona_env
    >>> env = CopyPenalty(gym.make("persona_env/Patient-v0"), weight=0.5)
    >>> _, info = env.reset(seed=0)
    >>> env.step(info["persona"].description)[1]
    -0.5
    """

    def __init__(self, env: gym.Env[Any, Any], weight: float = 1.0):
        super().__init__(env, copying_term(weight), None, weight=weight)
