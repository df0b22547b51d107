"""R4: replies that unpack to, or are, far more than a reply can be; memory as the kernel counts it."""

from __future__ import annotations

import time
from pathlib import Path

from persona_env.models.faults import BadReply
from tests.models.asked import client, requests
from tests.models.behaviours import BOMBS
from tests.models.fault_server import fault_process
from tests.reliability.rows import Row

_MB = 1024
_AT_ONCE = 8


def _kilobytes(name: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split(f"{name}:")[1].split()[0])


def cost(name: str, number: int) -> tuple[float, float, bool]:
    """Returns MB and seconds that bombs cost at once, and whether each is a typed fault."""
    with fault_process("--always", name) as server, client(server, max_retries=0) as asked:
        asked.complete(requests(1))  # the thread, the modules and the connection cost something once
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts here
        before, begin = _kilobytes("VmRSS"), time.monotonic()
        faults = asked.complete(requests(number))
        seconds = time.monotonic() - begin
        peak = (_kilobytes("VmHWM") - before) / _MB
    return peak, seconds, all(isinstance(fault, BadReply) for fault in faults)


def row(number: int) -> Row:
    """Takes the worst of all kinds."""
    costs = {name: cost(name, number) for name in BOMBS}
    memory, seconds = max(costs.values())[0], max(cost[1] for cost in costs.values())
    typed = all(cost[2] for cost in costs.values())
    return Row(
        "R4",
        f"{number} at once of each: {', '.join(BOMBS)}",
        "at most +8 MB and 1 s",
        f"+{memory:.1f} MB, {seconds:.2f} s at worst{'' if typed else ', untyped errors'}",
        met=typed and memory <= 8 and seconds <= 1,
    )


def measure() -> list[Row]:
    """Returns the rows."""
    return [row(1), row(_AT_ONCE)]
