"""What asking models costs, how much of it is allowed, and what a run hands to the models that it asks."""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable
from dataclasses import astuple, dataclass

from persona_env.errors import BudgetSpent, InputError
from persona_env.models.reply_cache import ReplyCache

__all__ = ["ModelResources", "Usage", "UsageLimit"]


@dataclass(frozen=True, slots=True)
class Usage:
    """What a model was asked and what that cost, failed requests and replies that could not be used included.

    >>> Usage(calls=1, prompt_tokens=10) + Usage(calls=1, cached=3)
    Usage(calls=2, prompt_tokens=10, completion_tokens=0, retries=0, cached=3)
    """

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    retries: int = 0  # calls that repeated a failed one
    cached: int = 0  # replies that were read from a cache instead of being asked for

    @property
    def tokens(self) -> int:
        """Tokens of prompts and replies together."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(*map(operator.add, astuple(self), astuple(other)))


class UsageLimit:
    """A limit on calls and tokens, shared by all models that get it; safe for several threads.

    Retries are calls, and tokens are those of prompts and replies together; None is no limit. `spent` is what earlier
    processes of the same run have used. The limit is checked before a request starts and what is in flight is
    finished, so tokens may exceed it by what those requests cost; calls never do.

    >>> limit = UsageLimit(calls=1)
    >>> limit.start()
    >>> limit.start()
    Traceback (most recent call last):
    persona_env.errors.BudgetSpent: Expected at most 1 calls, got 1 used: allow more, then resume.
    """

    def __init__(self, calls: int | None = None, tokens: int | None = None, spent: Usage | None = None):
        self._most = {"calls": calls, "tokens": tokens}
        self._used = {"calls": spent.calls, "tokens": spent.tokens} if spent else {"calls": 0, "tokens": 0}
        self._lock = threading.Lock()
        for name, most in self._most.items():
            if most is not None and most <= max(self._used[name], 0):
                raise InputError(
                    f"Expected a limit above the {self._used[name]} {name} that were used, got {name}={most}: "
                    "give a larger one."
                )

    @property
    def used(self) -> dict[str, int]:
        """Calls and tokens so far, those of earlier processes included."""
        return dict(self._used)

    def start(self, calls: int = 1) -> None:
        """Counts requests that are about to be sent; BudgetSpent, and nothing counted, if there is no room."""
        with self._lock:
            for name, more in (("calls", calls), ("tokens", 1)):
                most = self._most[name]
                if most is not None and self._used[name] + more > most:
                    raise BudgetSpent(
                        f"Expected at most {most} {name}, got {self._used[name]} used: allow more, then resume."
                    )
            self._used["calls"] += calls

    def add_tokens(self, tokens: int) -> None:
        """Counts the tokens of a reply."""
        with self._lock:
            self._used["tokens"] += tokens


@dataclass(frozen=True, slots=True)
class ModelResources:
    """What a run hands to judges and speakers, which pass it on to their models: `use(resources)`."""

    caches: tuple[ReplyCache, ...] = ()  # replies are looked up in this order; new ones are written to all
    limit: UsageLimit | None = None  # what all models together may use
    outage_timeout: float | None = None  # seconds for which a server that is away is waited for
    on_wait: Callable[[float], None] | None = None  # gets the seconds waited so far, once a second, in another thread
