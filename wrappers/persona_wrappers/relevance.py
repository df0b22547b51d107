"""RewardStats for lines that respond to what was just heard."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from persona_env.judges.base import Judge
from persona_env.metrics import Relevance
from persona_env.metrics.rewards import LineReward
from persona_wrappers.gym_reward import GymReward

__all__ = ["RelevanceReward", "relevance_term"]


def relevance_term(weight: float) -> LineReward:
    """Returns what the three forms share: weight for each line to the point."""
    return LineReward(Relevance(), weight)


class RelevanceReward(GymReward):
    """Adds `weight` for each line that responds to what was just heard, or openly declines to.

    Args:
        env: A dialogue environment.
        judge: A judge or its spec.
        weight: At least 0.

    >>> import persona_env
    >>> env = RelevanceReward(gym.make("persona_env/Patient-v0"), judge="oracle", weight=0.5)
    >>> _ = env.reset(seed=0)
    >>> _, reward, _, _, info = env.step("Lorem ipsum.")
    >>> info["consistency/relevance"], reward
    (0.0, 0.0)
    """

    def __init__(self, env: gym.Env[Any, Any], judge: str | Judge = "oracle", weight: float = 1.0):
        super().__init__(env, relevance_term(weight), judge, weight=weight)
