"""Rewards that one puts around a dialogue environment, one per drift type.

Rewards: `PromptToLineReward`, `LineToLineReward`, `QuestionAnswerReward`, `RelevanceReward`.
Penalties: `CopyPenalty`, `RepetitionPenalty`. Here they wrap one Gymnasium environment;
`persona_wrappers.vector` has them for vector environments, with `ConsistencyRewards`, which
combines them, and `persona_wrappers.aec` for PettingZoo. They stack in any order.
"""

from __future__ import annotations

from persona_wrappers import aec, vector
from persona_wrappers.copying import CopyPenalty
from persona_wrappers.line_to_line import LineToLineReward
from persona_wrappers.prompt_to_line import PromptToLineReward
from persona_wrappers.question_answer import QuestionAnswerReward
from persona_wrappers.relevance import RelevanceReward
from persona_wrappers.repetition import RepetitionPenalty

__all__ = [
    "CopyPenalty",
    "LineToLineReward",
    "PromptToLineReward",
    "QuestionAnswerReward",
    "RelevanceReward",
    "RepetitionPenalty",
    "aec",
    "vector",
]
