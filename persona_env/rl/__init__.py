"""What token-level RL on a language model needs beside an RL library: torch and transformers, nothing else.

`persona_env.sb3` puts these parts into stable-baselines3; a training loop of one's own calls them directly.
"""

from __future__ import annotations

from persona_env.rl.advantages import RolloutArrays, center_rewards, line_advantages
from persona_env.rl.kl import k2, kl_divergence
from persona_env.rl.loading import TrainableModel, load_trainable
from persona_env.rl.lora import LoraOptions, add_adapters
from persona_env.rl.packed_forward import (
    ChoicePositions,
    MemoryLimits,
    choice_logits,
    choice_scores,
    choice_states,
    forbid,
    sample_tokens,
)
from persona_env.rl.reference import Reference
from persona_env.rl.trajectories import Packed, Trajectories, TrajectoryRecorder
from persona_env.rl.value_head import ValueHead

__all__ = [
    "ChoicePositions",
    "LoraOptions",
    "MemoryLimits",
    "Packed",
    "Reference",
    "RolloutArrays",
    "TrainableModel",
    "Trajectories",
    "TrajectoryRecorder",
    "ValueHead",
    "add_adapters",
    "center_rewards",
    "choice_logits",
    "choice_scores",
    "choice_states",
    "forbid",
    "k2",
    "kl_divergence",
    "line_advantages",
    "load_trainable",
    "sample_tokens",
]
