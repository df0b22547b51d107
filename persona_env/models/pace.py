"""How fast a server may be asked: as fast as it answers, found out by asking a little faster now and then."""

from __future__ import annotations

import math

__all__ = ["Pace"]

_SHARE, _MUCH = 0.08, 0.15
_FASTER, _FIND = 1.25, 2.0
_CALM, _IN_A_ROW = 8, 2
_SLOWEST_FIRST = 8.0
_LATE = 0.05  # what a timer that fires late may make up for
_ANSWERS, _FEW, _ENOUGH = 40, 6, 4


class Pace:
    """Spaces requests out once a server has asked for patience (429); before that it does nothing.

    Time is cut into spans of about 40 requests. The rate falls to what the server answered in a span in which it
    turned some away. Now and then a span is faster by a quarter: it ends at the fourth refusal, or the rate
    grows where the server keeps up, and doubles where it did so twice. What is refused at any speed is not about
    speed: only what comes on top of it is obeyed. Halving at each 429 instead would hunt around the limit, and
    collapse under a few that mean nothing.

    >>> pace = Pace()
    >>> pace.sent(10.0)
    >>> pace.delay(10.0) <= 0
    True
    """

    def __init__(self) -> None:
        self.rate = math.inf
        self._free_at = self._hold = -math.inf
        self._span_ends = math.inf
        self._answered = self._refused = self._calm = 0
        self._begin, self._last_share = -math.inf, 0.0
        self._usual, self._grown = 0.0, 0
        self._finding, self._probing = True, False
        self._patience = 1
        self._recent = list[float]()

    def delay(self, now: float) -> float:
        """Returns how many seconds the next request is to wait."""
        return max(self._free_at, self._hold) - now

    def sent(self, now: float) -> None:
        """Notes that a request is sent now."""
        if self.rate < math.inf:
            self._free_at = max(self._free_at, now - max(1 / self.rate, _LATE)) + 1 / (self.rate * self._gain)

    @property
    def _gain(self) -> float:
        if self._finding:
            return _FIND
        return _FASTER if self._probing else 1.0

    def hold(self, until: float) -> None:
        """Lets nothing be sent before a moment."""
        self._hold = max(self._hold, until)

    def answered(self, now: float, sent: float) -> None:
        """Notes that the server took a request that was sent at a moment, whatever it said to it."""
        if self.rate == math.inf:
            self._recent.append(now)
            if len(self._recent) > 4096:
                self._recent = [moment for moment in self._recent if moment > now - 1]
        elif sent >= self._begin:  # what was sent at another speed says nothing of this one
            self._answered += 1
            self._end_span(now)

    def refused(self, now: float, sent: float) -> None:
        """Notes that the server asked for patience."""
        if self.rate == math.inf:
            first = sum(moment > now - 1 for moment in self._recent)
            self.rate, self._recent = max(first, _SLOWEST_FIRST), []
            self._free_at = now
            self._begin_span(now)
        elif sent >= self._begin:
            self._refused += 1
            self._end_span(now)

    def _begin_span(self, now: float) -> None:
        enough = _FEW if self._finding else _ANSWERS
        self._begin, self._answered, self._refused = now, 0, 0
        self._span_ends = now + min(max(enough / 20, enough / self.rate), 3.0)

    def _end_span(self, now: float) -> None:
        total = self._refused + self._answered
        fast = (self._finding or self._probing) and self._refused > _MUCH * total
        mostly = 2 * self._refused > total and now > self._begin + 0.5
        enough = self._refused >= _ENOUGH and (fast or mostly)
        if now < self._span_ends and not enough:
            return
        reached = self._answered / (now - self._begin)
        share = self._refused / total
        if self._finding or self._probing:
            self._after_fast(reached, share)
        else:
            self._after_calm(reached, share)
        self._begin_span(now)

    def _after_fast(self, reached: float, share: float) -> None:
        """Keeps what was reached; goes on growing as long as the server keeps up and there is enough to ask."""
        self.rate = max(self.rate, reached)
        goes_on = reached > 0.6 * self.rate
        was_finding, more = self._finding, share - self._usual
        self._finding = was_finding and goes_on and not (more > _MUCH and self._refused > 2)
        self._probing = not self._finding and goes_on and more <= _SHARE
        self._grown = self._grown + 1 if self._probing and not was_finding else 0
        if self._grown >= _IN_A_ROW:
            self._grown, self._probing, self._finding = 0, False, True
        self._patience = 1 if was_finding or self._probing else min(2 * self._patience, _CALM)
        self._calm, self._last_share = 0, 0.0

    def _after_calm(self, reached: float, share: float) -> None:
        """Falls back to what was reached; where that does not help, the refusals are not about speed."""
        self._calm += 1
        if share <= _SHARE:
            self.rate *= 1 - max(share - self._usual, 0.0) / 2
            self._usual = (self._usual + share) / 2
            self._probing, self._last_share = self._calm >= self._patience, 0.0
        elif self._last_share and share > 0.7 * self._last_share:
            self.rate, self._finding = self.rate / max(1 - share, 0.5), True
        else:
            self.rate, self._last_share = max(reached, 0.3 * self.rate, 0.5), share
