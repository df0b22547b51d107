"""Options of spec strings that are numbers."""

from __future__ import annotations

import math

from persona_env.errors import InputError, shown

__all__ = ["as_float", "as_int"]


def as_int(name: str, value: object, least: int = 1) -> int:
    """Returns a whole number that was given as a number or as a text; an `InputError` if it is none, or too small.

    >>> as_int("max_tokens", "64")
    64
    """
    return int(_number(name, value, least, int, "allow at least one" if least == 1 else "correct it"))


def as_float(name: str, value: object, least: float = 0.0) -> float:
    """Returns a finite number that was given as a number or as a text; an `InputError` if it is none, or too small.

    >>> as_float("temperature", "0.7")
    0.7
    """
    return _number(name, value, least, float, "correct it")


def _number(name: str, value: object, least: float, kind: type[int] | type[float], do: str) -> float:
    try:
        found = kind(value) if isinstance(value, str | kind | int) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        found = math.nan
    if not least <= found < math.inf:
        got = value if isinstance(value, int | float) else shown(value)
        raise InputError(f"Expected {name} >= {least:g}, got {got}: {do}.")
    return found
