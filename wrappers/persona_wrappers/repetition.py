"""Punishes lines that say again what the speaker said before."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from persona_env.metrics import Repetition
from persona_env.metrics.rewards import LineReward
from persona_wrappers.gym_reward import GymReward

__all__ = ["RepetitionPenalty", "repetition_term"]


def repetition_term(weight: float, threshold: float | None = 0.8) -> LineReward:
    """Returns what the three forms share: -weight for each line that repeats another."""
    return LineReward(Repetition(threshold), weight, penalty=True)


class RepetitionPenalty(GymReward):
    """Takes `weight` off the reward for each line that repeats one of the speaker's own.

    `info["consistency/repetition"]` is 0.0 for such a line and 1.0 for any other. No judge is
    asked.

    Args:
        env: A dialogue environment.
        weight: At least 0.
        threshold: Likeness from which a line repeats another; None: the same words only.

    >>> import persona_env
    >>> env = RepetitionPenalty(gym.make("persona_env/Patient-v0"), weight=0.5)
    >>> _ = env.reset(seed=0)
    >>> [env.step("I am fine, thank you.")[1] for _ in range(2)]
    [0.0, -0.5]
    """

    def __init__(self, env: gym.Env[Any, Any], weight: float = 1.0, threshold: float | None = 0.8):
        super().__init__(env, repetition_term(weight, threshold), None, weight=weight, threshold=threshold)
