"""The base class of everything that talks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from persona_env.conversation import Line, View
from persona_env.errors import InputError, shown
from persona_env.models.limits import ModelResources, Usage
from persona_env.roles import role_named

__all__ = ["Replies", "Speaker", "as_speaker", "withheld_line"]


class Replies(Protocol):
    """Any object that talks; `as_speaker` makes a `Speaker` of it."""

    def reply(self, views: Sequence[View]) -> list[str]:
        """Returns the next line for each view, in order."""
        ...


class Speaker(ABC):
    """Anything that talks: simulators and task agents. Only `reply` must be written; the rest has defaults.

    >>> class Echo(Speaker):
    ...     def reply(self, views):
    ...         return [view.messages[-1].text for view in views]
    >>> Echo().identity
    {'kind': 'Echo'}
    """

    longest_reply: str | None = None  # a text at least as long as any reply, where one is known: contexts fit it
    max_tokens: Any = None  # the most tokens of a line; None where there is no bound
    is_remote: bool = False  # it asks a server, whose replies a run stores

    @abstractmethod
    def reply(self, views: Sequence[View]) -> list[str]:
        """Returns the next line for each view, in order; what is sampled depends on the view's `seed` alone."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """What can change its lines, as plain data; never a key."""
        return {"kind": type(self).__name__}

    @property
    def usage(self) -> Usage:
        """What it has used so far."""
        return Usage()

    def use(self, resources: ModelResources) -> None:
        """Takes the caches and limits of a run; speakers that ask no model have no use for them."""
        return

    def reset_cache(self) -> None:
        """Drops what was computed for earlier calls, so that a resumed run computes the same to the last bit."""
        return

    def close(self) -> None:
        """Gives back connections and other resources."""
        return


class _Wrapped(Speaker):
    """A speaker made of an object that has only a method `reply`."""

    def __init__(self, inner: Replies):
        self.inner = inner

    def reply(self, views: Sequence[View]) -> list[str]:
        return self.inner.reply(views)

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"kind": type(self.inner).__name__}


def as_speaker(found: Speaker | Replies) -> Speaker:
    """Returns a speaker as it is, any other object with a method `reply` wrapped; raises InputError without one."""
    if isinstance(found, Speaker):
        return found
    if not callable(getattr(found, "reply", None)):
        raise InputError(f"Expected a speaker with a method reply(views), got {shown(found)}: write one.")
    return _Wrapped(found)


def withheld_line(view: View) -> Line:
    """Returns what stands for a withheld line: the role's stock line of a task agent, nothing of a simulator.

    >>> withheld_line(View("patient", "task", "", (), 0))
    'I see. Please go on.'
    """
    return Line(role_named(view.role).stock_line if view.side == "task" else "", "filtered")
