"""Rewards that one puts around a dialogue environment, one per metric.

Rewards: `PromptToLineReward`, `LineToLineReward`, `QuestionAnswerReward`, `RelevanceReward`. Penalties: `CopyPenalty`,
`RepetitionPenalty`. Here they wrap one Gymnasium environment; `persona_wrappers.vector` has them for vector
environments, with `ConsistencyRewards`, which combines them, and `persona_wrappers.aec` for PettingZoo. They stack in
any order. A subclass of `GymReward` whose `metric` is the name of a registered metric is a wrapper, too.
"""

from __future__ import annotations

from persona_wrappers import aec, vector
from persona_wrappers.gym_rewards import (
    CopyPenalty,
    GymReward,
    LineToLineReward,
    PromptToLineReward,
    QuestionAnswerReward,
    RelevanceReward,
    RepetitionPenalty,
)

__all__ = [
    "CopyPenalty",
    "GymReward",
    "LineToLineReward",
    "PromptToLineReward",
    "QuestionAnswerReward",
    "RelevanceReward",
    "RepetitionPenalty",
    "aec",
    "vector",
]
