"""What asking models costs, how much of it is allowed, and what a run hands to the models that it asks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from persona_env.errors import BudgetSpent, InputError
from persona_env.models.reply_cache import ReplyCache

__all__ = ["ModelResources", "Usage", "UsageLimit"]


@dataclass(frozen=True, slots=True)
class Usage:
    """What a model was asked and what that cost.

    Attributes:
        calls: Requests that were started, failed ones included.
        prompt_tokens: Tokens of prompts, also of replies that could not be used.
        completion_tokens: Tokens of replies, likewise.
        retries: Calls that repeated a failed one.
        cached: Replies that were read from a cache instead of being asked for.

    >>> Usage(calls=1, prompt_tokens=10) + Usage(calls=1, cached=3)
    Usage(calls=2, prompt_tokens=10, completion_tokens=0, retries=0, cached=3)
    """

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    retries: int = 0
    cached: int = 0

    @property
    def tokens(self) -> int:
        """Tokens of prompts and replies together."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.retries + other.retries,
            self.cached + other.cached,
        )


class UsageLimit:
    """A limit on calls and tokens, shared by all models that get it; safe for several threads.

    Retries are calls, and tokens are those of prompts and replies together; None is no limit. `spent` is what earlier
    processes of the same run have used. The limit is checked before a request starts and what is in flight is
    finished, so tokens may exceed it by what those requests cost; calls never do.

    Raises:
        InputError: If a limit is below 1, or no higher than what was spent.

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
        """Counts requests that are about to be sent.

        Raises:
            BudgetSpent: If the limit does not allow them; nothing is counted then.
        """
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
    """What a run hands to judges and speakers, which pass it on to their models: `use(resources)`.

    Attributes:
        caches: Where replies are looked up, in this order; new replies are written to all of them.
        limit: What all models together may use.
        outage_timeout: Seconds for which a server that is away is waited for; None leaves it to the client.
        on_wait: Called about once a second, from the client's thread, with the seconds waited for a server so far.
    """

    caches: tuple[ReplyCache, ...] = ()
    limit: UsageLimit | None = None
    outage_timeout: float | None = None
    on_wait: Callable[[float], None] | None = None
