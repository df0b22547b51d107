"""The rewards around PettingZoo AEC environments."""

from __future__ import annotations

from persona_wrappers.aec.rewards import (
    CopyPenalty,
    LineToLineReward,
    PromptToLineReward,
    QuestionAnswerReward,
    RelevanceReward,
    RepetitionPenalty,
)

__all__ = [
    "CopyPenalty",
    "LineToLineReward",
    "PromptToLineReward",
    "QuestionAnswerReward",
    "RelevanceReward",
    "RepetitionPenalty",
]
