"""R6: a server that takes 20 requests a second, and 64 workers that want more."""

from __future__ import annotations

import time

from tests.models.asked import client, outcomes, requests
from tests.models.behaviours import Behaviour, Call, status, well
from tests.models.fault_server import FaultServer
from tests.reliability.rows import Row

_RATE, _BURST, _WORKERS, _VERDICTS = 20.0, 20.0, 64, 700


class Bucket:
    """Turns away what is above the rate; says so with and without Retry-After, in turns."""

    def __init__(self) -> None:
        self.tokens, self.last, self.refused = _BURST, time.monotonic(), 0

    def __call__(self, call: Call) -> Behaviour:
        now = time.monotonic()
        self.tokens, self.last = min(_BURST, self.tokens + (now - self.last) * _RATE), now
        if self.tokens >= 1:
            self.tokens -= 1
            return well
        self.refused += 1
        return status(429, retry_after="1") if self.refused % 2 else status(429)


def measure() -> list[Row]:
    """Returns the row."""
    bucket = Bucket()
    with FaultServer(bucket, latency=0.05) as server, client(server, max_in_flight=_WORKERS) as asked:
        begin = time.monotonic()
        counted = outcomes(asked.complete(requests(_VERDICTS)))
        seconds = time.monotonic() - begin
    used = counted["right"] / (_BURST + _RATE * seconds)
    share = bucket.refused / len(server.calls)
    return [
        Row(
            "R6",
            f"{_VERDICTS} verdicts, {_WORKERS} workers, a server of {_RATE:g} requests/s (bursts of {_BURST:g})",
            "at least 75 % of its capacity, at most 15 % of calls turned away",
            f"{used:.1%} of its capacity, {share:.1%} turned away, {counted['wrong']} wrong",
            met=counted["right"] == _VERDICTS and used >= 0.75 and share <= 0.15,
        )
    ]
