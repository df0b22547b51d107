"""R3: replies that hang, or come a byte at a time."""

from __future__ import annotations

import time

from persona_env.models.faults import TimedOut
from tests.models.asked import client, requests
from tests.models.behaviours import SLOW
from tests.models.fault_server import FaultServer
from tests.reliability.rows import Row

_TIMEOUT = 1.0


def measure() -> list[Row]:
    """Returns the row."""
    worst, typed = 0.0, True
    for slow in SLOW.values():
        with FaultServer() as server, client(server, _TIMEOUT, max_retries=0) as asked:
            asked.complete(requests(1))  # the first request of a client goes alone
            server.behave = lambda call, slow=slow: slow
            for number in (1, 8):
                begin = time.monotonic()
                faults = asked.complete(requests(number))
                worst = max(worst, time.monotonic() - begin)
                typed = typed and all(isinstance(fault, TimedOut) for fault in faults)
    return [
        Row(
            "R3",
            f"replies that hang or drip ({', '.join(SLOW)}), request_timeout {_TIMEOUT:g} s",
            "given up within 1.2 x the timeout",
            f"{worst / _TIMEOUT:.2f} x at worst{'' if typed else ', not always as TimedOut'}",
            met=typed and worst <= 1.2 * _TIMEOUT,
        )
    ]
