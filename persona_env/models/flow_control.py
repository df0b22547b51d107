"""When the next request may be sent: how many are in flight, and whether the server is there."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from persona_env.models.faults import (
    AccessDenied,
    BadReply,
    Filtered,
    NoConnection,
    Overloaded,
    Refused,
    RemoteFault,
    ServerError,
    Unavailable,
)

__all__ = ["FlowControl"]

_LOOK = 1.0  # seconds between two looks at a server that is away
_ALONE = 10.0  # seconds for which the first request goes alone
_MOST_REFUSED = 8  # refusals before any reply: the server takes no request
_REFUSED_MODEL = 3  # how many of these a 404 counts for: no such model or base_url
_GROW_AFTER = 20  # replies for each request more in flight, after a 429 has halved them


class FlowControl:
    """Counts the requests in flight to one server; belongs to one asyncio loop.

    The first request goes alone, so that a wrong key costs one call. A 429 halves how many may be in flight; 20 replies
    let in one more. A server counts as away when no connection can be made, or after `max_failures` in a row. Then one
    request a second tries it, until it answers or `outage_timeout` seconds have passed.
    """

    def __init__(self, server: str, max_in_flight: int, max_failures: int, outage_timeout: float):
        self.outage_timeout, self.limit = outage_timeout, max_in_flight  # `limit`: how many may be in flight now
        self.on_wait: Callable[[float], None] | None = None  # called once a second with the seconds waited so far
        self._server, self._most, self._max_failures = server, max_in_flight, max_failures
        self._line, self._changed = asyncio.Lock(), asyncio.Event()
        self._in_flight = self._replies = 0
        self._has_answered, self._halved_at, self._refused = False, 0.0, 0
        self.reset()

    def reset(self) -> None:
        """Gives the server another chance, if nothing is being asked."""
        if not (self._in_flight or self._line.locked()):
            self._failures, self._ended = 0, None
            self._trouble_since = self._hold_until = self._sent_at = self._told_at = 0.0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Waits until a request may be sent, first come first served, holds its place, and notes how it ends."""
        async with self._line:  # only the first in line looks at the clock
            while (delay := self._delay(time.monotonic())) > 0:
                self._check_outage(time.monotonic())
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(delay, _LOOK)):
                        await self._changed.wait()
            self._check_outage(time.monotonic())
            self._in_flight += 1
            self._sent_at = sent_at = time.monotonic()
        try:
            yield
            self._answered()
        except RemoteFault as fault:
            fault.counts = self._failed(fault, sent_at)
            raise
        except Unavailable as error:  # nobody who waits may send, either
            self._ended = error
            raise
        finally:
            self._in_flight -= 1
            self._changed.set()

    def _answered(self) -> None:
        self._has_answered, self._failures, self._trouble_since = True, 0, 0.0
        self._replies += 1
        if self.limit < self._most and self._replies % _GROW_AFTER == 0:
            self.limit += 1

    def _failed(self, fault: RemoteFault, sent_at: float) -> bool:
        """Notes a fault; returns whether it says something about the request rather than about the server."""
        now, was_away = time.monotonic(), self._is_away
        if isinstance(fault, Refused) and not self._has_answered:
            self._refused += _REFUSED_MODEL if fault.status == 404 else 1
            self._end_if_all_are_refused(fault)
            return True
        if isinstance(fault, BadReply | Filtered | Refused):
            self._answered()
            return True
        self._trouble_since = self._trouble_since or now
        if isinstance(fault, Overloaded):
            self._overloaded(fault, sent_at, now)
            return False
        is_lost = isinstance(fault, NoConnection)
        self._failures = max(self._failures + 1, self._max_failures if is_lost else 0)
        return not (is_lost or (was_away and isinstance(fault, ServerError) and fault.is_gateway))

    def _end_if_all_are_refused(self, fault: Refused) -> None:
        if self._refused >= _MOST_REFUSED:
            self._ended = AccessDenied(
                f"Expected {self._server} to take requests, got none taken so far: correct the model, its "
                f"base_url or its options, then resume ({fault})."
            )
            raise self._ended

    def _overloaded(self, fault: Overloaded, sent_at: float, now: float) -> None:
        self._has_answered, self._failures = True, 0
        if sent_at >= self._halved_at:  # else it was sent before the last halving, and says nothing new
            self.limit, self._halved_at, self._replies = max(self.limit // 2, 1), now, 0
        wait = fault.wait or 0.0
        if wait > self.outage_timeout:
            raise self._unavailable(f"asking to wait {wait:.0f} s", "look at its limits")
        self._hold_until = max(self._hold_until, now + wait)

    @property
    def _is_away(self) -> bool:
        return self._failures >= self._max_failures

    def _delay(self, now: float) -> float:
        if self._in_flight >= self.limit:
            return float("inf")
        if self._is_away:
            return self._sent_at + _LOOK - now
        if self._in_flight and not self._has_answered:
            return self._sent_at + _ALONE - now
        return self._hold_until - now

    def _check_outage(self, now: float) -> None:
        if self._ended is not None:
            raise self._ended
        waited = now - self._trouble_since if self._trouble_since else 0.0
        if waited > self.outage_timeout:
            found = "it away" if self._is_away else "only failures or requests to wait"
            raise self._unavailable(found, "start it" if self._is_away else "look at it")
        waits = self._is_away or self._hold_until > now + 5.0
        if waits and self.on_wait is not None and now - self._told_at >= 0.9 * _LOOK:
            self._told_at = now
            self.on_wait(waited)

    def _unavailable(self, found: str, do: str) -> Unavailable:
        self._ended = Unavailable(
            f"Expected {self._server} to answer within {self.outage_timeout:g} s, got {found}: {do}, then resume."
        )
        return self._ended
