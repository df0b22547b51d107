"""A circuit breaker: while a server is down, one request a second tries it, and the others wait."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Protocol

from persona_env.remote.faults import NoConnection, RemoteFault, ServerError, TimedOut, Unavailable, Unreachable

__all__ = ["Breaker", "Item"]

_PROBE = 1.05
_IN_A_ROW, _OF_THEM = 20, 8


class Item(Protocol):
    """What is asked, as far as the breaker knows it."""

    deaths: int


class Breaker:
    """Lets requests through, as long as the server is up.

    It is down once a connection cannot be had, or 20 calls in a row failed that asked 8 different things; it is
    up again with the first reply of any kind, or once it listens again. What broke just before there was no
    connection any more may have been the cause: each such item counts a death.

    Args:
        name: What the server is called in messages.
        patience: Seconds that it may be down.
        tell: Called about once a second with the seconds that it has been down.
    """

    def __init__(self, name: str, patience: float, tell: Callable[[float], None]):
        self._name, self._patience, self._tell = name, patience, tell
        self._down_since: float | None = None
        self._next_probe = self._next_told = 0.0
        self._up = asyncio.Event()
        self._waiting = self._in_a_row = 0
        self._failing, self._gone = set[int](), False
        self._line = asyncio.Lock()
        self._suspects = dict[Item, float]()

    @property
    def is_down(self) -> bool:
        """Whether the server is taken to be down."""
        return self._down_since is not None

    def start(self) -> None:
        """Gives a server another chance on which nobody waits any more."""
        if not self._waiting:
            self._close()

    async def admit(self) -> None:
        """Returns when a request may be sent.

        Raises:
            Unavailable: If the server stays down for longer than `patience`.
        """
        if self._down_since is None:
            return
        self._waiting += 1
        try:
            async with self._line:  # the first in line tries next; where that fails it goes to the end
                while self._down_since is not None and not self._may_probe():
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(max(self._next_probe - time.monotonic(), 0.01)):
                            await self._up.wait()
        finally:
            self._waiting -= 1

    def succeeded(self, sent: float) -> None:
        """Notes that the server replied, if only to refuse, to what was sent at a moment."""
        self._close()
        if self._suspects:  # it has survived those that broke before
            self._suspects = {suspect: broke for suspect, broke in self._suspects.items() if broke > sent}

    def failed(self, fault: RemoteFault, item: Item, sent: float) -> None:
        """Notes what happened to a request that was sent at a moment."""
        if not isinstance(fault, (Unreachable, ServerError, TimedOut)):
            self.succeeded(sent)
            return
        if isinstance(fault, NoConnection):
            self._open()
            self._gone = True
            for suspect in self._suspects:
                suspect.deaths += 1
            self._suspects.clear()
            return
        if self._gone and self._down_since is not None:
            if sent <= self._down_since:  # it went down with the others
                item.deaths += isinstance(fault, Unreachable)
                return
            self._close()  # it listens again; that it fails is another matter
        self._in_a_row += 1
        self._failing.add(id(item))
        if isinstance(fault, Unreachable):
            self._suspects[item] = time.monotonic()
        if self._in_a_row >= _IN_A_ROW and len(self._failing) >= _OF_THEM:
            self._open()

    def _may_probe(self) -> bool:
        now, since = time.monotonic(), self._down_since
        if since is None:
            return True
        if now - since > self._patience:
            raise Unavailable(
                f"Expected {self._name} to be up, got no reply for {now - since:.0f} s: start it, then resume."
            )
        if now >= self._next_told:
            self._next_told = now + 1.0
            self._tell(now - since)
        if now < self._next_probe:
            return False
        self._next_probe = now + _PROBE
        return True

    def _open(self) -> None:
        if self._down_since is None:
            now = time.monotonic()
            self._down_since, self._next_probe, self._next_told = now, now + _PROBE, now + 1.0
            self._up.clear()

    def _close(self) -> None:
        self._in_a_row, self._gone = 0, False
        if self._failing:
            self._failing.clear()
        if self._down_since is not None:
            self._down_since = None
            self._up.set()
