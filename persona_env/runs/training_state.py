"""How the state of a training is written to a checkpoint as JSON: records, and every random generator."""

from __future__ import annotations

from persona_env.errors import InputError

import contextlib
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from persona_env.conversation import Conversation, Message, Probe
from persona_env.envs.episode import EpisodeState, TokenState
from persona_env.runs.serialization import Plain
from persona_env.errors import printable
from persona_env.persona import Fact, Persona, QAItem

__all__ = ["PLAIN", "as_written", "random_state", "set_random_state"]

PLAIN = Plain([EpisodeState, TokenState, Conversation, Message, Probe, Persona, Fact, QAItem])

_MALFORMED = (ArithmeticError, AttributeError, LookupError, RuntimeError, SafetensorError, TypeError, ValueError)


@contextlib.contextmanager
def as_written() -> Iterator[None]:
    """Within, whatever a state that nobody has written lacks, or holds in another form, is one line.

    Raises:
        ValueError: If there is such a thing.
    """
    try:
        yield
    except _MALFORMED as error:
        if isinstance(error, ValueError) and str(error).startswith("Expected "):
            raise
        why = printable(" ".join(f"{type(error).__name__}: {error}".split()))[:120]
        raise InputError(
            f"Expected a checkpoint as this version writes it, got an error ({why}): delete it; an older one is used."
        ) from error


def random_state() -> dict[str, Any]:
    """Returns the state of every random generator that training uses, as plain data."""
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {
        "python": PLAIN.write(random.getstate()),
        "numpy": PLAIN.write(np.random.get_state(legacy=False)),
        "torch": _hex(torch.get_rng_state()),
        "cuda": [_hex(state) for state in devices],
    }


def set_random_state(state: Mapping[str, Any]) -> None:
    """Sets every random generator to the state that `random_state` returned."""
    random.setstate(PLAIN.read(state["python"]))
    np.random.set_state(PLAIN.read(state["numpy"]))
    torch.set_rng_state(_from_hex(state["torch"]))
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([_from_hex(one) for one in state["cuda"]])


def _hex(state: Tensor) -> str:
    return state.numpy().tobytes().hex()


def _from_hex(text: str) -> Tensor:
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)
