"""RewardStats for lines that conflict with nothing the speaker said before."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from persona_env.judges.base import Judge
from persona_env.metrics import LineToLine
from persona_env.metrics.rewards import LineReward
from persona_wrappers.gym_reward import GymReward

__all__ = ["LineToLineReward", "line_to_line_term"]


def line_to_line_term(weight: float) -> LineReward:
    """Returns what the three forms share: weight for each line without a conflict."""
    return LineReward(LineToLine(), weight)


class LineToLineReward(GymReward):
    """Adds `weight` for each line that conflicts with none of the speaker's own earlier lines.

    The first line of a dialogue is paid: nothing was said before it.

    Args:
        env: A dialogue environment.
        judge: A judge or its spec.
        weight: At least 0.

    >>> import persona_env
    >>> env = LineToLineReward(gym.make("persona_env/Patient-v0"), judge="oracle", weight=0.5)
    >>> _ = env.reset(seed=0)
    >>> [env.step(f"I get about {hours} hours.")[1] for hours in ("four", "nine", "nine")]
    [0.5, 0.0, 0.0]
    """

    def __init__(self, env: gym.Env[Any, Any], judge: str | Judge = "oracle", weight: float = 1.0):
        super().__init__(env, line_to_line_term(weight), judge, weight=weight)
