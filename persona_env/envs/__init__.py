"""Conversations as environments, in every form.

In here: `DialogueEnv` and `TokenDialogueEnv` (Gymnasium; one action is one line, or one token),
`DialogueVectorEnv` and `TokenDialogueVectorEnv` (N of them, batched), `DialogueAEC` and
`ParallelDialogue` (PettingZoo; both sides act) and `Seat` (either side of it, with Gymnasium).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from persona_env.envs.dialogue import AECState, DialogueAEC, ParallelDialogue
    from persona_env.envs.seats import Seat, SeatState
    from persona_env.envs.single import SingleDialogueEnv
    from persona_env.envs.stage import Interviewer
    from persona_env.envs.state import RowState, TokenState
    from persona_env.envs.token_rows import TokenFormat
    from persona_env.envs.tokens import TokenDialogueEnv
    from persona_env.envs.turns import DialogueEnv
    from persona_env.envs.vector import DialogueVectorEnv, TokenDialogueVectorEnv

__all__ = [
    "AECState",
    "DialogueAEC",
    "DialogueEnv",
    "DialogueVectorEnv",
    "Interviewer",
    "ParallelDialogue",
    "RowState",
    "Seat",
    "SeatState",
    "SingleDialogueEnv",
    "TokenDialogueEnv",
    "TokenDialogueVectorEnv",
    "TokenFormat",
    "TokenState",
]

_HOMES = {
    "AECState": "dialogue",
    "DialogueAEC": "dialogue",
    "DialogueEnv": "turns",
    "DialogueVectorEnv": "vector",
    "Interviewer": "stage",
    "ParallelDialogue": "dialogue",
    "RowState": "state",
    "Seat": "seats",
    "SeatState": "seats",
    "SingleDialogueEnv": "single",
    "TokenDialogueEnv": "tokens",
    "TokenDialogueVectorEnv": "vector",
    "TokenFormat": "token_rows",
    "TokenState": "state",
}


def __getattr__(name: str) -> Any:
    """Loads a public name when it is used for the first time: the ids are registered without it."""
    if name not in _HOMES:
        raise AttributeError(f"module 'persona_env.envs' has no attribute {name!r}")
    return getattr(import_module(f"persona_env.envs.{_HOMES[name]}"), name)
