"""A circuit breaker: while a server is down one request a second tries it; what takes it down is found out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from persona_env.remote.faults import (
    NoConnection,
    Quarantined,
    RemoteFault,
    ServerError,
    TimedOut,
    Unavailable,
    Unreachable,
    Unserved,
)

__all__ = ["ALONE", "Breaker", "Item"]

ALONE = 2
_PROBE, _SOON = 1.05, 0.1
_IN_A_ROW, _OF_ONE, _OF_THEM = 20, 10, 8


class Item(Protocol):
    """What is asked, as far as the breaker knows it.

    Attributes:
        deaths: How often the server went down while this was in flight; above `ALONE`, with this alone.
        alone: Whether nothing else was in flight when it was sent last.
        failed_at: When it failed last; infinite where it never did.
        outlived: Whether the server replied to something else between two failures of this.
    """

    deaths: int
    alone: bool
    failed_at: float
    outlived: bool


class Breaker:
    """Says whether a request may be sent; knows no clock but what it is told.

    The server is down once a connection cannot be had, or 20 calls in a row failed that asked 8 different
    things, or all that is asked where that is less (10 calls of a single one are enough); it is up again with
    the first reply of any kind, or once it listens again. What fails while others are answered is no sign of it.

    Few that fail may be the cause themselves: when patience ends they are put aside, and the next one is tried.
    If that was asked later and fails for as long, the server is unavailable.

    What broke before there was no connection any more is suspected. Many are, and all but one by chance, so
    that the first two outages only make a suspect be asked alone. Who goes down with the server then, as the
    only one that broke, is to blame, and not sent again.

    Args:
        name: What the server is called in messages.
        patience: Seconds that it may be down.
        tell: Called about once a second with the seconds that it has been down.

    Attributes:
        asked: All that wait for a reply, whether they are in flight or not; kept by who asks.
    """

    def __init__(self, name: str, patience: float, tell: Callable[[float], None]):
        self._name, self._patience, self._tell = name, patience, tell
        self._down_since: float | None = None
        self._next_probe = self._next_told = 0.0
        self._gone, self._in_a_row = False, 0
        self.asked = set[Item]()
        self._failing = set[Item]()
        self._answered = -math.inf
        self._aside = set[Item]()
        self._suspects = dict[Item, float]()
        self._blamed = set[Item]()

    @property
    def is_down(self) -> bool:
        """Whether the server is taken to be down."""
        return self._down_since is not None

    def reset(self) -> None:
        """Gives the server another chance."""
        self._close()

    def delay(self, item: Item, now: float) -> float:
        """Returns how many seconds an item is to wait, if nothing happens meanwhile.

        Raises:
            Unavailable: If the server has been down for longer than `patience`.
            Unserved: If it has, but may be up for others.
            Quarantined: If the item is the one to blame.
        """
        if item.deaths > ALONE:
            raise Quarantined("the server went down with this each time; put aside")
        since = self._down_since
        if since is None:
            return 0.0
        if now - since > self._patience:
            self._give_up(item, now - since)
        if now >= self._next_told:
            self._next_told = now + 1.0
            self._tell(now - since)
        return max(self._next_probe - now, 0.0)

    def _give_up(self, item: Item, waited: float) -> None:
        """Ends the wait for the server, or for an item that may be the cause; else the item is the next to try it."""
        if self._gone or len(self._failing) >= _OF_THEM or not self._aside <= self._failing:
            raise Unavailable(
                f"Expected {self._name} to be up, got no reply for {waited:.0f} s: start it, then resume."
            )
        if item in self._failing:
            self._aside.add(item)
            raise Unserved(f"the server failed with this for {waited:.0f} s; put aside")

    def sent(self, now: float) -> None:
        """Notes that a request is sent now."""
        self._next_probe = now + _PROBE

    def succeeded(self, sent: float) -> None:
        """Notes that the server replied, if only to refuse, to what was sent at a moment."""
        self._answered = max(self._answered, sent)
        self._aside.clear()
        self._close()
        if self._suspects:  # it has survived those that broke before
            self._suspects = {suspect: broke for suspect, broke in self._suspects.items() if broke > sent}

    def failed(self, fault: RemoteFault, item: Item, sent: float, now: float) -> bool:
        """Notes what happened to a request that was sent at a moment.

        Returns:
            Whether it was an attempt: what nobody could have answered is none.
        """
        if isinstance(fault, NoConnection):
            self._went_down(now)
            return False
        if not isinstance(fault, (Unreachable, ServerError, TimedOut)):
            self.succeeded(sent)
            return True
        broke = isinstance(fault, Unreachable)
        if self._down_since is not None and sent <= self._down_since:
            if self._gone and broke and item not in self._blamed:  # it was in flight with the others
                self._blame(item, alone=False)
            return False
        return self._failed_while_down(broke, item, now) if self.is_down else self._failed_while_up(broke, item, now)

    def _failed_while_up(self, broke: bool, item: Item, now: float) -> bool:
        self._in_a_row += 1
        self._failing.add(item)
        item.outlived |= item.failed_at < self._answered
        item.failed_at = now
        if broke:
            self._suspects[item] = now
        if broke and item.alone:  # whether it is down must be known before another one breaks
            self._open(now, _SOON)
            self._gone = True
        elif self._in_a_row >= min(_IN_A_ROW, _OF_ONE * len(self._failing)) and self._is_outage():
            self._open(now, _PROBE)
        return True

    def _is_outage(self) -> bool:
        """Whether so many items fail, or all that there are, that it cannot well be because of them."""
        if len(self._failing) >= _OF_THEM:
            return True
        return self.asked <= self._failing and not all(item.outlived for item in self._failing)

    def _failed_while_down(self, broke: bool, item: Item, now: float) -> bool:
        if not self._gone:
            self._failing.add(item)
            return False
        if broke and not self._suspects:  # it may have gone down with this one: the next shows
            self._suspects[item], self._next_probe = now, now + _SOON
            return False
        self._close()  # it listens; that it fails is another matter
        return self._failed_while_up(broke, item, now)

    def _went_down(self, now: float) -> None:
        if self._down_since is None:
            self._open(now, _PROBE)
        self._gone = True
        only = len(self._suspects) == 1
        for suspect in self._suspects:
            self._blame(suspect, alone=only and suspect.alone)
        self._suspects.clear()

    def _blame(self, item: Item, *, alone: bool) -> None:
        self._blamed.add(item)
        if item.deaths < ALONE or alone:
            item.deaths += 1

    def _open(self, now: float, probe: float) -> None:
        self._down_since, self._next_probe, self._next_told = now, now + probe, now + 1.0
        self._blamed.clear()

    def _close(self) -> None:
        self._in_a_row, self._gone, self._down_since = 0, False, None
        if self._failing:
            self._failing.clear()
        if self._blamed:
            self._blamed.clear()
