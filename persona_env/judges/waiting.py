"""Judges that spend their time waiting, and so can be asked beside something else: which they are, how one is ended."""

from __future__ import annotations

from typing import Any

__all__ = ["interrupt", "shared", "waits"]


def _inside(judge: Any) -> list[Any]:
    """Returns what a judge asks itself: the judge that it wraps, its model, a client, or the members of a ensemble."""
    found = [getattr(judge, name, None) for name in ("wrapped", "asker", "client")]
    return [part for part in (*found, *getattr(judge, "members", ())) if part is not None]


def _parts(judge: Any) -> list[Any]:
    """Returns a judge and all that it asks, outermost first."""
    return [judge, *(part for one in _inside(judge) for part in _parts(one))]


def waits(judge: Any) -> bool:
    """Returns whether a judge says that it waits or, where it says nothing, whether all that it asks does.

    >>> from persona_env.judges import load_judge
    >>> waits(load_judge("oracle"))
    False
    """
    said = getattr(judge, "waits", None)
    inside = _inside(judge)
    return bool(said) if said is not None else bool(inside) and all(map(waits, inside))


def shared(one: Any, other: Any) -> bool:
    """Returns whether two judges ask the same one somewhere inside, or are the same."""
    return not {id(part) for part in _parts(one)}.isdisjoint(id(part) for part in _parts(other))


def interrupt(judge: Any) -> None:
    """Makes the calls of a judge that go on in other threads raise soon, where it can do that."""
    for part in _parts(judge):
        end = getattr(part, "interrupt", None)
        if callable(end):
            end()
