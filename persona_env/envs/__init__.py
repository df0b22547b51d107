"""Conversations as environments, in every form: lines, tokens, N at a time, two agents, either seat."""

from persona_env.envs.single import SingleDialogueEnv
from persona_env.envs.tokens import TokenDialogueEnv
from persona_env.envs.turns import DialogueEnv
from persona_env.envs.vector import DialogueVectorEnv, TokenDialogueVectorEnv

__all__ = [
    "DialogueEnv",
    "DialogueVectorEnv",
    "SingleDialogueEnv",
    "TokenDialogueEnv",
    "TokenDialogueVectorEnv",
]
