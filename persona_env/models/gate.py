"""When a request may be sent: how many are in flight, how fast they follow one another, whether the server is up."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from persona_env.models.breaker import ALONE, Breaker, Item
from persona_env.models.pace import Pace

__all__ = ["Gate"]

_FIRST = 8
_SUSPECTED = 8
_LOOK = 1.0


class Gate:
    """Lets requests in one after the other; starts with a few in flight, one more with each that succeeds.

    Whoever comes first goes first: the others wait in line. Of items that were in flight when the server went
    down a few go at a time, and one that was so twice goes when nothing else is in flight.

    Args:
        most: How many may be in flight.
        breaker: Knows whether the server is up.
    """

    def __init__(self, most: int, breaker: Breaker):
        self.pace = Pace()
        self._breaker = breaker
        self._most, self._limit = most, min(most, _FIRST)
        self._inside = self._suspected = self._queued = 0
        self._lonely = False
        self._line, self._changed = asyncio.Lock(), asyncio.Event()

    @property
    def is_empty(self) -> bool:
        """Whether nobody is in flight or waits."""
        return not (self._inside or self._queued)

    @asynccontextmanager
    async def enter(self, item: Item) -> AsyncIterator[float]:
        """Holds a place, from the moment on that is yielded.

        Raises:
            Unavailable: If the server stays down for longer than one is ready to wait.
            Quarantined: If the server goes down with the item.
        """
        now = time.monotonic()
        if self._queued or self._delay(item, now) > 0:
            now = await self._wait(item)
        suspected = item.deaths > 0
        item.alone = self._lonely = item.deaths >= ALONE
        self._inside += 1
        self._suspected += suspected
        self.pace.sent(now)
        self._breaker.sent(now)
        try:
            yield now
        finally:
            self._inside -= 1
            self._suspected -= suspected
            self._lonely = False
            self._changed.set()

    def widen(self) -> None:
        """Notes a success: one more may be in flight."""
        if self._limit < self._most:
            self._limit += 1

    async def _wait(self, item: Item) -> float:
        """Waits in line; returns the moment at which it was an item's turn."""
        self._queued += 1
        try:
            async with self._line:
                while (delay := self._delay(item, time.monotonic())) > 0:
                    self._changed.clear()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(min(delay, _LOOK)):
                            await self._changed.wait()
                return time.monotonic()
        finally:
            self._queued -= 1

    def _delay(self, item: Item, now: float) -> float:
        """Returns the seconds that an item is to wait, infinite where it waits for others to leave."""
        down = self._breaker.delay(item, now)
        if not self._has_room(item.deaths):
            return math.inf
        return max(down, self.pace.delay(now))

    def _has_room(self, deaths: int) -> bool:
        if self._lonely or self._inside >= self._limit or (deaths and self._suspected >= _SUSPECTED):
            return False
        return deaths < ALONE or self._inside == 0
