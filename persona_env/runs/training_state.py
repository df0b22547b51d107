"""How the state of a training is written to a checkpoint as JSON; unlike a pickle, it cannot run code."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import random
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from persona_env.conversation import Conversation, Message, Probe
from persona_env.envs.episode import EpisodeState, TokenState
from persona_env.errors import InputError, printable, shown
from persona_env.persona import Fact, Persona, QAItem
from persona_env.scenario import FactUpdate, ProbePlan, Scenario

__all__ = ["random_state", "read_state", "reading_checkpoint", "set_random_state", "write_state"]

_RECORDS: Mapping[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        *(EpisodeState, TokenState, Conversation, Message, Probe, Persona, Fact, QAItem),
        *(Scenario, FactUpdate, ProbePlan),
    )
}
_KIND = "is"
_DTYPES = ("bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
_MALFORMED = (ArithmeticError, AttributeError, LookupError, RuntimeError, SafetensorError, TypeError, ValueError)


def write_state(value: Any) -> Any:
    """Returns plain data, arrays and records of dialogues as what JSON holds; sequences come back as tuples.

    >>> write_state((Message("task", "Hello."), float("nan")))
    [{'is': 'Message', 'side': 'task', 'text': 'Hello.', 'note': ''}, {'is': 'float', 'of': 'nan'}]
    >>> read_state(write_state((Message("task", "Hello."),)))
    (Message(side='task', text='Hello.', note=''),)
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {_KIND: "float", "of": repr(value)}
    if type(value) is _RECORDS.get(type(value).__name__):
        fields = {item.name: write_state(getattr(value, item.name)) for item in dataclasses.fields(value)}
        return {_KIND: type(value).__name__, **fields}
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {_KIND: "mapping", "of": {key: write_state(item) for key, item in value.items()}}
    if isinstance(value, np.ndarray) and value.dtype.kind in "iub":
        return {_KIND: "array", "dtype": str(value.dtype), "of": value.tolist()}
    if isinstance(value, np.generic):
        return write_state(value.item())
    if isinstance(value, Sequence):
        return [write_state(item) for item in value]
    raise InputError(f"Expected plain data or a known record, got {type(value).__name__}: add its class.")


def read_state(value: Any) -> Any:
    """Returns what `write_state` was given; other data may raise anything: use it within `reading_checkpoint`."""
    if isinstance(value, list):
        return tuple(read_state(item) for item in value)
    if not isinstance(value, dict):
        return value
    kind, fields = value.get(_KIND), {key: item for key, item in value.items() if key != _KIND}
    if kind == "float":
        return float(fields["of"])
    if kind == "mapping":
        return {key: read_state(item) for key, item in fields["of"].items()}
    if kind == "array" and fields["dtype"] in _DTYPES:
        return np.array(fields["of"], fields["dtype"])
    if not isinstance(kind, str) or kind not in _RECORDS:
        known = ", ".join(_RECORDS)
        raise InputError(f"Expected a record of {known}, got {shown(kind)}: the file is of another version.")
    return _RECORDS[kind](**{name: read_state(item) for name, item in fields.items()})


@contextlib.contextmanager
def reading_checkpoint() -> Generator[None]:
    """Turns whatever a malformed checkpoint raises inside it into an `InputError`."""
    try:
        yield
    except _MALFORMED as error:
        if isinstance(error, InputError) and len(str(error)) < 500:  # records quote what they were given
            raise
        why = printable(" ".join(f"{type(error).__name__}: {error}".split()))[:120]
        raise InputError(
            f"Expected a checkpoint as this version writes it, got an error ({why}): delete it; an older one is used."
        ) from error


def random_state() -> dict[str, Any]:
    """Returns the state of every random generator that training uses, as what JSON holds."""
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {
        "python": write_state(random.getstate()),
        "numpy": write_state(np.random.get_state(legacy=False)),
        "torch": _hex(torch.get_rng_state()),
        "cuda": [_hex(state) for state in devices],
    }


def set_random_state(state: Mapping[str, Any]) -> None:
    """Sets every random generator to the state that `random_state` returned."""
    random.setstate(read_state(state["python"]))
    np.random.set_state(read_state(state["numpy"]))
    torch.set_rng_state(_from_hex(state["torch"]))
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([_from_hex(one) for one in state["cuda"]])


def _hex(state: Tensor) -> str:
    return state.numpy().tobytes().hex()


def _from_hex(text: str) -> Tensor:
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)
