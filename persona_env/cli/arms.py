"""Arms of a benchmark: `name=spec`, or a spec alone, which gets a short name of its own."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Sequence

from persona_env.errors import InputError, shown
from persona_env.speakers import SPEAKERS

__all__ = ["named_arms"]

_NAMED = re.compile(r"(?P<name>\w[\w.-]*)=(?P<spec>.+)", re.DOTALL)
_SERVER = re.compile(r"@[A-Za-z][A-Za-z0-9+.-]*://.*", re.DOTALL)
_LONGEST = 20
_INSIDE = ("", ".", "..", "~", "model")  # names of folders that tell no two models apart


def named_arms(texts: Sequence[str]) -> dict[str, str]:
    """Returns the specs by name, in order; the same name twice is an `InputError`.

    A name is a plain word before the first `=`, so that the options of a spec may hold one. A spec without a name is
    called by its model, folder or kind, and numbered where that is taken.

    >>> named_arms(["mine=hf:a/model", "tiny?temperature=0.5", "openai:m@http://127.0.0.1:8000/v1", "tiny"])
    {'mine': 'hf:a/model', 'tiny': 'tiny?temperature=0.5', 'm': 'openai:m@http://127.0.0.1:8000/v1', 'tiny-2': 'tiny'}
    """
    pairs = [_split(text) for text in texts]
    given = [name for name, _ in pairs if name]
    for name in given:
        if given.count(name) > 1:
            raise InputError(f"Expected a name for each simulator, got {shown(name)} twice: rename one of them.")
    arms = dict[str, str]()
    for name, spec in pairs:
        short = _short(spec)
        numbered = itertools.chain([short], (f"{short}-{number}" for number in itertools.count(2)))
        arms[name or next(one for one in numbered if one not in arms and one not in given)] = spec
    return arms


def _split(text: str) -> tuple[str, str]:
    """Returns the name, empty where none is given, and the spec."""
    found = None if os.path.exists(os.path.expanduser(text)) else _NAMED.fullmatch(text)
    return (found["name"], found["spec"]) if found else ("", text)


def _short(spec: str) -> str:
    """Returns what tells a spec from others: the last part of its model's name or folder, or else its kind."""
    head = _SERVER.sub("", spec).partition("?")[0]
    kind, colon, rest = head.partition(":")
    path = rest if colon and kind in SPEAKERS else head
    parts = [part for part in re.split(r"[/\\]", path) if part not in _INSIDE]
    return (parts[-1] if parts else kind or "arm")[:_LONGEST]
