"""Rewards that one puts around a dialogue environment, one per metric; they stack in any order.

Here they wrap one Gymnasium environment, in `vector` a vector of them, in `aec` a PettingZoo environment. A subclass of
`GymReward` whose `metric` is the name of a registered metric is a wrapper, too.
"""

from __future__ import annotations

from persona_wrappers import aec, vector
from persona_wrappers.gym_rewards import (
    CopyPenalty,
    EvasionPenalty,
    GymReward,
    LineToLineReward,
    PromptToLineReward,
    QuestionAnswerReward,
    RelevanceReward,
    RepetitionPenalty,
    RoleFlipPenalty,
)

__all__ = [
    "CopyPenalty",
    "EvasionPenalty",
    "GymReward",
    "LineToLineReward",
    "PromptToLineReward",
    "QuestionAnswerReward",
    "RelevanceReward",
    "RepetitionPenalty",
    "RoleFlipPenalty",
    "aec",
    "vector",
]
