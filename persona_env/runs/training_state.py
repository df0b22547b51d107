"""How the state of a training is written to a checkpoint as JSON: records, and every random generator."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from persona_env.conversation import Conversation, Message, Probe
from persona_env.envs.episode import EpisodeState, TokenState
from persona_env.persona import Fact, Persona, QAItem
from persona_env.runs.serialization import Serializer
from persona_env.scenario import FactUpdate, ProbePlan, Scenario

__all__ = ["SERIALIZER", "random_state", "set_random_state"]

SERIALIZER = Serializer(
    [EpisodeState, TokenState, Conversation, Message, Probe, Persona, Fact, QAItem, Scenario, FactUpdate, ProbePlan]
)


def random_state() -> dict[str, Any]:
    """Returns the state of every random generator that training uses, as what JSON holds."""
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {
        "python": SERIALIZER.write(random.getstate()),
        "numpy": SERIALIZER.write(np.random.get_state(legacy=False)),
        "torch": _hex(torch.get_rng_state()),
        "cuda": [_hex(state) for state in devices],
    }


def set_random_state(state: Mapping[str, Any]) -> None:
    """Sets every random generator to the state that `random_state` returned."""
    random.setstate(SERIALIZER.read(state["python"]))
    np.random.set_state(SERIALIZER.read(state["numpy"]))
    torch.set_rng_state(_from_hex(state["torch"]))
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([_from_hex(one) for one in state["cuda"]])


def _hex(state: Tensor) -> str:
    return state.numpy().tobytes().hex()


def _from_hex(text: str) -> Tensor:
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)
