"""Records of settings: each field says what it is for and which values it takes.

From that one place come the checks, the options of the command line, and what may change when a run is resumed.

    @dataclass(frozen=True, kw_only=True)
    class Walk:
        steps: Annotated[int, Setting("How many steps to take.", ge=1)] = 8

        def __post_init__(self) -> None:
            check(self)
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from persona_env.errors import InputError, shown

__all__ = ["Setting", "check", "from_text", "kinds", "number", "settings_of"]

_LIMIT = 10**15
"""Numbers at or beyond this are mistakes, and overflow what computes with them."""

_T = TypeVar("_T", int, float)
_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


@dataclass(frozen=True, slots=True)
class Setting:
    """What a field of a record is for, and which values it takes; `ge`, `gt`, `le` and `lt` are bounds of numbers."""

    help: str  # one line, shown by `--help`
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    choices: tuple[str, ...] = ()  # the texts it may be; empty for any
    resumable: bool = False  # changes no figure of a run, so that a resumed run may have another
    parse: Callable[[str], Any] | None = None  # reads it from text, where its type is not enough


@functools.cache
def settings_of(record: type) -> Mapping[str, Setting]:
    """Returns the settings of a record's annotated fields, by name."""
    hints = get_type_hints(record, include_extras=True)
    found = {name: [a for a in get_args(hint)[1:] if isinstance(a, Setting)] for name, hint in hints.items()}
    return {name: setting[0] for name, setting in found.items() if setting and get_origin(hints[name]) is Annotated}


@functools.cache
def kinds(record: type) -> Mapping[str, Any]:
    """Returns the types of a record's fields, by name."""
    return get_type_hints(record)


def check(record: object) -> None:
    """Checks each annotated field of a record against its type and its `Setting`; call it in `__post_init__`."""
    for name, setting in settings_of(type(record)).items():
        value = getattr(record, name)
        if isinstance(value, np.generic):  # a number of numpy's, which JSON could not hold
            object.__setattr__(record, name, value := value.item())
        _check_type(name, value, kinds(type(record))[name])
        if isinstance(value, str):
            _check_text(name, value, setting)
        elif isinstance(value, int | float):
            _check_number(name, value, setting)


def from_text(record: type, name: str, text: str) -> Any:
    """Returns the value of a field that a text stands for; no such field, or another type, is an `InputError`."""
    setting, kind = settings_of(record).get(name), kinds(record).get(name, str)
    if setting is None:
        known = ", ".join(settings_of(record))
        raise InputError(f"Expected an option among {known}, got {shown(name)}: remove or rename it.")
    return setting.parse(text) if setting.parse else _parsed(name, text, kind)


def number(name: str, value: object, kind: type[_T], ge: float, lt: float | None = None) -> _T:
    """Returns an option of a spec, given as a number or as a text; any other is an `InputError`.

    >>> number("max_tokens", "64", int, ge=1)
    64
    """
    found: Any = _parsed(name, value, kind) if isinstance(value, str) else value
    _check_type(name, found, kind)
    _check_number(name, found, Setting("", ge=ge, lt=lt))
    return kind(found)


def _parsed(name: str, text: str, kind: Any) -> Any:
    try:
        return {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)
    except (KeyError, ValueError):
        raise InputError(f"Expected {_NAMES[kind]} as {name}, got {shown(text)}: correct it.") from None


def _check_type(name: str, value: object, kind: Any) -> None:
    expected: Any = get_origin(kind) or kind
    fits = isinstance(value, int | float if kind is float else expected)
    if not fits or isinstance(value, bool) != (kind is bool):
        raise InputError(f"Expected {_NAMES.get(kind, kind)} as {name}, got {shown(value)}: correct it.")


def _check_text(name: str, value: str, setting: Setting) -> None:
    if setting.choices and value not in setting.choices:
        raise InputError(f"Expected {name} among {', '.join(setting.choices)}, got {shown(value)}: use one of these.")
    if "\x00" in value or value != value.encode("utf-8", "ignore").decode("utf-8"):
        raise InputError(f"Expected a text as {name}, got {shown(value)}: give one that UTF-8 can hold.")


def _check_number(name: str, value: float, setting: Setting) -> None:
    checks = (
        (">=", operator.ge, value, setting.ge),
        (">", operator.gt, value, setting.gt),
        ("<=", operator.le, value, setting.le),
        ("<", operator.lt, abs(value), _LIMIT if setting.lt is None else setting.lt),
    )
    for sign, holds, number, bound in checks:
        if bound is not None and not holds(number, bound):
            way_out = "a larger" if sign[0] == ">" else "a smaller"
            raise InputError(f"Expected {name} {sign} {bound:g}, got {shown(value)}: give {way_out} one.")
