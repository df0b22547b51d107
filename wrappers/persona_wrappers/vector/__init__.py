"""The rewards around vector environments (`gymnasium.vector.VectorEnv`).

`ConsistencyRewards` combines several in one judge batch per step; the others stack.
"""

from __future__ import annotations

from persona_wrappers.vector.rewards import (
    ConsistencyRewards,
    CopyPenalty,
    LineToLineReward,
    PromptToLineReward,
    QuestionAnswerReward,
    RelevanceReward,
    RepetitionPenalty,
    VectorReward,
)

__all__ = [
    "ConsistencyRewards",
    "CopyPenalty",
    "LineToLineReward",
    "PromptToLineReward",
    "QuestionAnswerReward",
    "RelevanceReward",
    "RepetitionPenalty",
    "VectorReward",
]
