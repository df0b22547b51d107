"""Conversations as environments, in every form.

In here: `DialogueEnv` and `TokenDialogueEnv` (Gymnasium; one action is one line, or one token),
`DialogueVectorEnv` and `TokenDialogueVectorEnv` (N of them, batched), `DialogueAEC` and
`ParallelDialogue` (PettingZoo; both sides act) and `SingleAgentEnv` (either side of it, with Gymnasium).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from persona_env.envs.aec_env import AECState, DialogueAEC, ParallelDialogue
    from persona_env.envs.base_env import BaseDialogueEnv
    from persona_env.envs.engine import ProbeFn
    from persona_env.envs.episode import EpisodeState, TokenState
    from persona_env.envs.line_env import DialogueEnv
    from persona_env.envs.single_agent import SingleAgentEnv, SingleAgentState
    from persona_env.envs.token_env import TokenDialogueEnv
    from persona_env.envs.token_episode import TokenFormat
    from persona_env.envs.vector_env import (
        BaseDialogueVectorEnv,
        DialogueVectorEnv,
        StepEvents,
        TokenDialogueVectorEnv,
    )

__all__ = [
    "AECState",
    "BaseDialogueEnv",
    "BaseDialogueVectorEnv",
    "DialogueAEC",
    "DialogueEnv",
    "DialogueVectorEnv",
    "EpisodeState",
    "ParallelDialogue",
    "ProbeFn",
    "SingleAgentEnv",
    "SingleAgentState",
    "StepEvents",
    "TokenDialogueEnv",
    "TokenDialogueVectorEnv",
    "TokenFormat",
    "TokenState",
]

_HOMES = {
    "AECState": "aec_env",
    "DialogueAEC": "aec_env",
    "DialogueEnv": "line_env",
    "BaseDialogueVectorEnv": "vector_env",
    "DialogueVectorEnv": "vector_env",
    "StepEvents": "vector_env",
    "ProbeFn": "engine",
    "ParallelDialogue": "aec_env",
    "EpisodeState": "episode",
    "SingleAgentEnv": "single_agent",
    "SingleAgentState": "single_agent",
    "BaseDialogueEnv": "base_env",
    "TokenDialogueEnv": "token_env",
    "TokenDialogueVectorEnv": "vector_env",
    "TokenFormat": "token_episode",
    "TokenState": "episode",
}


def __getattr__(name: str) -> Any:
    """Loads a public name when it is used for the first time: the ids are registered without it."""
    if name not in _HOMES:
        raise AttributeError(f"module 'persona_env.envs' has no attribute {name!r}")
    return getattr(import_module(f"persona_env.envs.{_HOMES[name]}"), name)
