"""A circuit breaker: while a server is down one request a second tries it; what takes it down is found out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from persona_env.models.faults import (
    NoConnection,
    Quarantined,
    RemoteFault,
    ServerError,
    TimedOut,
    Unavailable,
    Unreachable,
)

__all__ = ["ALONE", "Breaker", "Item"]

ALONE = 2
_PROBE, _SOON = 1.05, 0.1
_IN_A_ROW, _OF_THEM = 20, 8


class Item(Protocol):
    """What is asked, as far as the breaker knows it.

    Attributes:
        deaths: How often the server went down while this was in flight; above `ALONE`, with this alone.
        alone: Whether nothing else was in flight when it was sent last.
    """

    deaths: int
    alone: bool


class Breaker:
    """Says whether a request may be sent; knows no clock but what it is told.

    The server is down once a connection cannot be had, or 20 calls in a row failed that asked 8 different
    things; it is up again with the first reply of any kind, or once it listens again.

    What broke before there was no connection any more is suspected. Many are, and all but one by chance, so
    that the first two outages only make a suspect be asked alone. Who goes down with the server then, as the
    only one that broke, is to blame, and not sent again.

    Args:
        name: What the server is called in messages.
        patience: Seconds that it may be down.
        tell: Called about once a second with the seconds that it has been down.
    """

    def __init__(self, name: str, patience: float, tell: Callable[[float], None]):
        self._name, self._patience, self._tell = name, patience, tell
        self._down_since: float | None = None
        self._next_probe = self._next_told = 0.0
        self._gone, self._in_a_row = False, 0
        self._failing = set[Item]()
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
            Quarantined: If the item is the one to blame.
        """
        if item.deaths > ALONE:
            raise Quarantined("the server went down with this each time; put aside")
        since = self._down_since
        if since is None:
            return 0.0
        if now - since > self._patience:
            raise Unavailable(
                f"Expected {self._name} to be up, got no reply for {now - since:.0f} s: start it, then resume."
            )
        if now >= self._next_told:
            self._next_told = now + 1.0
            self._tell(now - since)
        return max(self._next_probe - now, 0.0)

    def sent(self, now: float) -> None:
        """Notes that a request is sent now."""
        self._next_probe = now + _PROBE

    def succeeded(self, sent: float) -> None:
        """Notes that the server replied, if only to refuse, to what was sent at a moment."""
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
        if broke:
            self._suspects[item] = now
        if broke and item.alone:  # whether it is down must be known before another one breaks
            self._open(now, _SOON)
            self._gone = True
        elif self._in_a_row >= _IN_A_ROW and len(self._failing) >= _OF_THEM:
            self._open(now, _PROBE)
        return True

    def _failed_while_down(self, broke: bool, item: Item, now: float) -> bool:
        if not self._gone:
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
