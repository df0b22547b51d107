"""When the next request may be sent: how many are in flight, and whether the server is there."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from persona_env.models.faults import NoConnection, Overloaded, RemoteFault, ServerError, Unavailable

__all__ = ["FlowControl"]

_LOOK = 1.0  # seconds between two looks at a server that is away
_ALONE = 1.0  # for so long the first request goes alone: a wrong key or address costs one call
_GROW_AFTER = 20  # replies for each request more in flight, after a 429 has halved them
_LONG_HOLD = 5.0


class FlowControl:
    """Counts the requests in flight to one server; belongs to one asyncio loop.

    A 429 halves how many may be in flight; it grows again by one for every 20 replies. A server counts as away when
    no connection can be made, or after more failures in a row than one request may cause. Then one request a second
    tries it, until it answers or `outage_timeout` has passed.

    Args:
        server: Its name, for messages.
        max_in_flight: The most requests in flight.
        max_failures: After how many failures in a row it counts as away.
        outage_timeout: Seconds for which a server that is away, or asks for fewer requests, is waited for.

    Attributes:
        limit: How many may be in flight now.
        on_wait: Called about once a second with the seconds waited so far.
    """

    def __init__(self, server: str, max_in_flight: int, max_failures: int, outage_timeout: float):
        self.outage_timeout = outage_timeout
        self.on_wait: Callable[[float], None] | None = None
        self._server, self._max_failures = server, max_failures
        self._most = self.limit = max_in_flight
        self._in_flight = self._waiting = self._replies = 0
        self._line, self._changed = asyncio.Lock(), asyncio.Event()
        self._answers = False
        self._halved_at = 0.0
        self._ended: Unavailable | None = None
        self.reset()

    def reset(self) -> None:
        """Gives the server another chance, if nothing is being asked."""
        if not (self._in_flight or self._waiting):
            self._failures, self._is_away, self._in_trouble_since, self._ended = 0, False, 0.0, None
            self._hold_until = self._next_try = self._alone_until = self._told_at = 0.0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Waits until a request may be sent, first come first served, and holds its place.

        Raises:
            Unavailable: If the server is away for longer than `outage_timeout`.
        """
        self._waiting += 1
        try:
            async with self._line:  # only the first in line looks at the clock
                while (delay := self._delay(time.monotonic())) > 0:
                    self._check_outage(time.monotonic())
                    self._changed.clear()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(min(delay, _LOOK)):
                            await self._changed.wait()
                self._check_outage(time.monotonic())
                self._in_flight += 1
        finally:
            self._waiting -= 1
        now = time.monotonic()
        self._next_try = now + _LOOK
        if not self._answers:
            self._alone_until = now + _ALONE
        try:
            yield
        except Unavailable as error:  # nobody who waits may send, either
            self._ended = error
            raise
        finally:
            self._in_flight -= 1
            self._changed.set()

    def answered(self) -> None:
        """Notes that the server has answered a request, whatever it said."""
        self._answers = True
        self._failures, self._is_away, self._in_trouble_since = 0, False, 0.0
        self._replies += 1
        if self.limit < self._most and self._replies % _GROW_AFTER == 0:
            self.limit += 1

    def failed(self, fault: RemoteFault, sent_at: float) -> bool:
        """Notes a failure; returns whether it says something about the request rather than about the server.

        Raises:
            Unavailable: If the server asks for a longer wait than `outage_timeout`.
        """
        now = time.monotonic()
        self._in_trouble_since = self._in_trouble_since or now
        if isinstance(fault, Overloaded):
            self._overloaded(fault, sent_at, now)
            return False
        was_away = self._is_away
        self._failures += 1
        if isinstance(fault, NoConnection) or self._failures >= self._max_failures:
            self._is_away = True
        is_gone = isinstance(fault, NoConnection) or (isinstance(fault, ServerError) and fault.is_gateway)
        return not (is_gone and (was_away or isinstance(fault, NoConnection)))

    def _overloaded(self, fault: Overloaded, sent_at: float, now: float) -> None:
        self._answers, self._failures, self._is_away = True, 0, False
        if sent_at >= self._halved_at:  # else it was sent before the last halving, and says nothing new
            self.limit, self._halved_at, self._replies = max(self.limit // 2, 1), now, 0
        if fault.wait is not None:
            if fault.wait > self.outage_timeout:
                raise self._unavailable(f"asking to wait {fault.wait:.0f} s", "look at its limits")
            self._hold_until = max(self._hold_until, now + fault.wait)

    def _delay(self, now: float) -> float:
        if self._in_flight >= self.limit:
            return float("inf")
        if self._is_away:
            return self._next_try - now
        if not self._answers and self._in_flight:
            return self._alone_until - now
        return self._hold_until - now

    def _check_outage(self, now: float) -> None:
        if self._ended is not None:
            raise self._ended
        waited = now - self._in_trouble_since if self._in_trouble_since else 0.0
        if waited > self.outage_timeout:
            found = "it away" if self._is_away else "only failures or requests to wait"
            raise self._unavailable(found, "start it" if self._is_away else "look at it")
        waits = self._is_away or self._hold_until > now + _LONG_HOLD
        if waits and self.on_wait is not None and now - self._told_at >= 0.9 * _LOOK:
            self._told_at = now
            self.on_wait(waited)

    def _unavailable(self, found: str, do: str) -> Unavailable:
        return Unavailable(
            f"Expected {self._server} to answer within {self.outage_timeout:g} s, got {found}: {do}, then resume."
        )
