"""R3: replies that hang, or come a byte at a time."""

from __future__ import annotations

import time

from persona_env.models.faults import TimedOut
from tests.models.asked import client, requests
from tests.models.behaviours import SLOW
from tests.models.fault_server import fault_process
from tests.reliability.rows import Row

_DEADLINE = 1.0


def measure() -> list[Row]:
    """Returns the row."""
    worst, typed = 0.0, True
    for name in SLOW:
        with fault_process("--always", name) as server, client(server, _DEADLINE, attempts=1) as asked:
            for number in (1, 8):
                begin = time.monotonic()
                faults = asked.complete(requests(number))
                worst = max(worst, time.monotonic() - begin)
                typed = typed and all(isinstance(fault, TimedOut) for fault in faults)
    return [
        Row(
            "R3",
            f"replies that hang or drip ({', '.join(SLOW)}), deadline {_DEADLINE:g} s",
            "given up within 1.2 x the deadline",
            f"{worst / _DEADLINE:.2f} x at worst{'' if typed else ', not always as TimedOut'}",
            met=typed and worst <= 1.2 * _DEADLINE,
        )
    ]
