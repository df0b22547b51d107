"""R1: 2,000 verdicts through HTTP faults: errors of the server, resets, replies that are cut off."""

from __future__ import annotations

from tests.models.asked import client, outcomes, requests
from tests.models.behaviours import HTTP_FAULTS
from tests.models.fault_server import fault_process
from tests.reliability.rows import Row

_VERDICTS = 2000


def row(percent: int) -> Row:
    """Asks everything through faults that happen by chance."""
    rate = percent / 100
    with fault_process("--faults", str(rate)) as server, client(server) as asked:
        counted = outcomes(asked.complete(requests(_VERDICTS)))
        calls = asked.usage.calls / _VERDICTS
    wanted = _VERDICTS if percent <= 30 else 0.999 * _VERDICTS
    allowed = 1.1 / (1 - rate)
    return Row(
        "R1",
        f"{_VERDICTS} verdicts, {percent} % of calls fail in {len(HTTP_FAULTS)} ways",
        f"0 wrong, {'100' if percent <= 30 else '99.9'} % right, at most {allowed:.2f} calls each",
        f"{counted['wrong']} wrong, {counted['right'] / _VERDICTS:.2%} right, {calls:.2f} calls each",
        met=counted["wrong"] == 0 and counted["right"] >= wanted and calls <= allowed,
    )


def measure() -> list[Row]:
    """Returns the rows."""
    return [row(percent) for percent in (10, 30, 50)]
