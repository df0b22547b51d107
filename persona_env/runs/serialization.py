"""Records as JSON and back: frozen dataclasses, sequences, generator states; nothing that can run code.

A pickle would do as much in one line, and would run whatever a file tells it to.
"""

from __future__ import annotations

from persona_env.errors import InputError

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from persona_env.errors import printable, shown

__all__ = ["Plain"]

_KIND = "is"
_LONGEST = 1000  # characters of a message; records quote what they were given
_DTYPES = ("bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))


class Plain:
    """Turns records of known kinds into what JSON holds, and back; sequences come back as tuples.

    Args:
        kinds: The dataclasses that may occur.

    >>> from persona_env.conversation import Message
    >>> plain = Plain([Message])
    >>> plain.write((Message("task", "Hello."), float("nan")))
    [{'is': 'Message', 'side': 'task', 'text': 'Hello.'}, {'is': 'float', 'of': 'nan'}]
    >>> plain.read(plain.write((Message("task", "Hello."),)))
    (Message(side='task', text='Hello.'),)
    """

    def __init__(self, kinds: Iterable[type[Any]]):
        self._kinds = {kind.__name__: kind for kind in kinds}

    def write(self, value: Any) -> Any:
        """Returns a value as plain data.

        Raises:
            ValueError: If it holds something of an unknown kind.
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
        raise InputError(f"Expected plain data or a known record, got {type(value).__name__}: add its kind.")

    def read(self, value: Any) -> Any:
        """Returns what `write` was given.

        Raises:
            ValueError: If the data are of no known kind, or not what was written of it.
        """
        try:
            return self._read(value)
        except (AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError) as error:
            if isinstance(error, ValueError) and str(error).startswith("Expected ") and len(str(error)) < _LONGEST:
                raise
            why = printable(" ".join(str(error).split()))[:80]
            raise InputError(
                f"Expected records as this version writes them, got an error ({why}): the file is not what was written."
            ) from None

    def _read(self, value: Any) -> Any:
        if isinstance(value, list):
            return tuple(self._read(item) for item in value)
        if not isinstance(value, dict):
            return value
        kind, fields = value.get(_KIND), {key: item for key, item in value.items() if key != _KIND}
        if kind == "float":
            return float(fields["of"])
        if kind == "mapping":
            return {key: self._read(item) for key, item in fields["of"].items()}
        if kind == "array" and fields["dtype"] in _DTYPES:
            return np.array(fields["of"], fields["dtype"])
        if kind not in self._kinds:
            raise InputError(
                f"Expected a record of {', '.join(self._kinds)}, got {shown(kind)}: the file is of another version."
            )
        return self._kinds[kind](**{name: self._read(item) for name, item in fields.items()})
