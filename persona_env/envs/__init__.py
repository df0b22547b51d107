"""Conversations as environments, in every form.

In here: `DialogueEnv` and `TokenDialogueEnv` (Gymnasium; one action is one line, or one token),
`DialogueVectorEnv` and `TokenDialogueVectorEnv` (N of them, batched), `DialogueAEC` and
`ParallelDialogue` (PettingZoo; both sides act) and `Seat` (either side of it, with Gymnasium).
"""

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
