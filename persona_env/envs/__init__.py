"""Conversations as environments, in every form.

In here: `DialogueEnv` and `TokenDialogueEnv` (Gymnasium; one action is one line, or one token), `DialogueVectorEnv` and
`TokenDialogueVectorEnv` (N of them, batched), `DialogueAEC` and `ParallelDialogue` (PettingZoo; both sides act) and
`SingleAgentEnv` (either side of it, with Gymnasium).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from persona_env.envs.aec_env import DialogueAEC, ParallelDialogue
    from persona_env.envs.line_env import DialogueEnv
    from persona_env.envs.single_agent import SingleAgentEnv
    from persona_env.envs.token_env import TokenDialogueEnv
    from persona_env.envs.vector_env import DialogueVectorEnv, TokenDialogueVectorEnv

__all__ = [
    "DialogueAEC",
    "DialogueEnv",
    "DialogueVectorEnv",
    "ParallelDialogue",
    "SingleAgentEnv",
    "TokenDialogueEnv",
    "TokenDialogueVectorEnv",
]

_MODULES = {
    "DialogueAEC": "aec_env",
    "DialogueEnv": "line_env",
    "DialogueVectorEnv": "vector_env",
    "ParallelDialogue": "aec_env",
    "SingleAgentEnv": "single_agent",
    "TokenDialogueEnv": "token_env",
    "TokenDialogueVectorEnv": "vector_env",
}


def __getattr__(name: str) -> Any:
    """Loads a public name when it is used for the first time: the ids are registered without it."""
    if name not in _MODULES:
        raise AttributeError(f"module 'persona_env.envs' has no attribute {name!r}")
    return getattr(import_module(f"persona_env.envs.{_MODULES[name]}"), name)
