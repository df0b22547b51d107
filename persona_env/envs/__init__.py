"""Conversations as environments: Gymnasium, its vectors and PettingZoo; one action is one line or one token."""

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
