"""The rewards around vector environments (`gymnasium.vector.VectorEnv`).

`ConsistencyRewards` combines several in one judge batch per step; the others stack.
"""

from __future__ import annotations

from persona_wrappers.vector.consistency import ConsistencyRewards
from persona_wrappers.vector.rewards import (
    CopyPenalty,
    LineToLineReward,
    PromptToLineReward,
    QuestionAnswerReward,
    RelevanceReward,
    RepetitionPenalty,
)

__all__ = [
    "ConsistencyRewards",
    "CopyPenalty",
    "LineToLineReward",
    "PromptToLineReward",
    "QuestionAnswerReward",
    "RelevanceReward",
    "RepetitionPenalty",
]
