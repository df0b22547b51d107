"""Frozen dataclasses, sequences and generator states as JSON and back; unlike a pickle, it cannot run code."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from safetensors import SafetensorError

from persona_env.errors import InputError, printable, shown

__all__ = ["Serializer", "reading_checkpoint"]

_KIND = "is"
_LONGEST = 500  # characters of a message; records quote what they were given
_DTYPES = ("bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
_MALFORMED = (ArithmeticError, AttributeError, LookupError, RuntimeError, SafetensorError, TypeError, ValueError)


class Serializer:
    """Turns records of known classes into what JSON holds, and back; sequences come back as tuples.

    Args:
        kinds: The dataclasses that may occur.

    >>> from persona_env.conversation import Message
    >>> serializer = Serializer([Message])
    >>> serializer.write((Message("task", "Hello."), float("nan")))
    [{'is': 'Message', 'side': 'task', 'text': 'Hello.'}, {'is': 'float', 'of': 'nan'}]
    >>> serializer.read(serializer.write((Message("task", "Hello."),)))
    (Message(side='task', text='Hello.'),)
    """

    def __init__(self, kinds: Iterable[type[Any]]):
        self._kinds = {kind.__name__: kind for kind in kinds}

    def write(self, value: Any) -> Any:
        """Returns a value as what JSON holds.

        Raises:
            InputError: If it holds something of an unknown class.
        """
        if value is None or isinstance(value, str | bool | int):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else {_KIND: "float", "of": repr(value)}
        if type(value) is self._kinds.get(type(value).__name__):
            fields = {item.name: self.write(getattr(value, item.name)) for item in dataclasses.fields(value)}
            return {_KIND: type(value).__name__, **fields}
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            return {_KIND: "mapping", "of": {key: self.write(item) for key, item in value.items()}}
        if isinstance(value, np.ndarray) and value.dtype.kind in "iub":
            return {_KIND: "array", "dtype": str(value.dtype), "of": value.tolist()}
        if isinstance(value, np.generic):
            return self.write(value.item())
        if isinstance(value, Sequence):
            return [self.write(item) for item in value]
        raise InputError(f"Expected plain data or a known record, got {type(value).__name__}: add its class.")

    def read(self, value: Any) -> Any:
        """Returns what `write` was given; other data may raise anything, so read files within `reading_checkpoint`."""
        if isinstance(value, list):
            return tuple(self.read(item) for item in value)
        if not isinstance(value, dict):
            return value
        kind, fields = value.get(_KIND), {key: item for key, item in value.items() if key != _KIND}
        if kind == "float":
            return float(fields["of"])
        if kind == "mapping":
            return {key: self.read(item) for key, item in fields["of"].items()}
        if kind == "array" and fields["dtype"] in _DTYPES:
            return np.array(fields["of"], fields["dtype"])
        if kind not in self._kinds:
            known = ", ".join(self._kinds)
            raise InputError(f"Expected a record of {known}, got {shown(kind)}: the file is of another version.")
        return self._kinds[kind](**{name: self.read(item) for name, item in fields.items()})


@contextlib.contextmanager
def reading_checkpoint() -> Generator[None]:
    """Converts any error raised while reading a malformed checkpoint into a one-line `InputError`.

    Raises:
        InputError: If anything inside it fails.
    """
    try:
        yield
    except _MALFORMED as error:
        if isinstance(error, InputError) and len(str(error)) < _LONGEST:
            raise
        why = printable(" ".join(f"{type(error).__name__}: {error}".split()))[:120]
        raise InputError(
            f"Expected a checkpoint as this version writes it, got an error ({why}): delete it; an older one is used."
        ) from error
