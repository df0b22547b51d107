"""Options of spec strings that are numbers."""

from __future__ import annotations

import math

from persona_env.errors import InputError, shown

__all__ = ["as_float", "as_int"]


def as_int(name: str, value: object, least: int = 1) -> int:
    """Returns a whole number that was given as a number or as a text.

    Raises:
        InputError: If it is none, or below `least`.

    >>> as_int("max_tokens", "64")
    64
    """
    try:
        found = int(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else None
    except ValueError:
        found = None
    if found is None or found < least:
        wanted = "allow at least one" if least == 1 else "correct it"
        raise InputError(f"Expected {name} >= {least}, got {_bare(value)}: {wanted}.")
    return found


def as_float(name: str, value: object, least: float = 0.0) -> float:
    """Returns a finite number that was given as a number or as a text.

    Raises:
        InputError: If it is none, or below `least`.

    >>> as_float("temperature", "0.7")
    0.7
    """
    try:
        found = float(value) if isinstance(value, (str, int, float)) else math.nan
    except (ValueError, OverflowError):
        found = math.nan
    if not least <= found < math.inf:
        raise InputError(f"Expected {name} >= {least:g}, got {_bare(value)}: correct it.")
    return found


def _bare(value: object) -> str:
    return str(value) if isinstance(value, (int, float)) else shown(value)
