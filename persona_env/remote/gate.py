"""How many requests are in flight, and how fast they follow one another."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from persona_env.remote.pace import Pace

__all__ = ["Gate"]

_FIRST = 8


class Gate:
    """Lets requests in one after the other; starts with a few in flight, one more with each that succeeds.

    Args:
        most: How many may be in flight.
    """

    def __init__(self, most: int):
        self.pace = Pace()
        self._most, self._limit, self._inside = most, min(most, _FIRST), 0
        self._waiting = deque[asyncio.Future[None]]()
        self._turn, self._alone = asyncio.Lock(), asyncio.Lock()

    @asynccontextmanager
    async def enter(self, *, alone: bool = False) -> AsyncIterator[None]:
        """Holds a place; with `alone` nobody else has one."""
        if alone:
            async with self._alone:
                await self._take(1)
                try:
                    yield
                finally:
                    self._leave()
            return
        await self._take(0)
        try:
            yield
        finally:
            self._leave()

    async def keep_pace(self) -> None:
        """Returns when the next request may follow the last one."""
        pace = self.pace
        if not self._turn.locked() and pace.delay(time.monotonic()) <= 0:
            pace.sent(time.monotonic())
            return
        async with self._turn:
            while (delay := pace.delay(time.monotonic())) > 0:
                await asyncio.sleep(min(delay, 1.0))
            pace.sent(time.monotonic())

    def widen(self) -> None:
        """Notes a success: one more may be in flight."""
        if self._limit < self._most:
            self._limit += 1
            self._wake()

    async def _take(self, lonely: int) -> None:
        while not self._has_room(lonely):
            place = asyncio.get_running_loop().create_future()
            self._waiting.append(place)
            try:
                await place
            except asyncio.CancelledError:
                if place.done() and not place.cancelled():
                    self._wake()
                raise
        self._inside += 1

    def _has_room(self, lonely: int) -> bool:
        if lonely:
            return self._inside == 0
        return self._inside < self._limit and not self._alone.locked()

    def _leave(self) -> None:
        self._inside -= 1
        self._wake(self._limit if self._alone.locked() else 1)

    def _wake(self, number: int = 1) -> None:
        while self._waiting and number:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                number -= 1
