"""R2: replies with status 200 that are none."""

from __future__ import annotations

from persona_env.models.faults import BadReply
from tests.models.asked import client, outcomes, requests
from tests.models.behaviours import BAD_BODIES
from tests.models.fault_server import FaultServer, fault_process
from tests.reliability.rows import Row

_VERDICTS = 2000


def measure() -> list[Row]:
    """Returns the row."""
    with fault_process("--bodies", "0.3") as server, client(server) as asked:
        counted = outcomes(asked.complete(requests(_VERDICTS)))
    ways, untyped = list(BAD_BODIES.values()), 0
    with FaultServer(lambda call: ways[int(call.prompt.split()[-1])]) as server, client(server, max_retries=0) as asked:
        untyped = sum(not isinstance(fault, BadReply) for fault in asked.complete(requests(len(ways))))
    lost = _VERDICTS - counted["right"] - counted["wrong"]
    return [
        Row(
            "R2",
            f"{_VERDICTS} verdicts, 30 % of replies bad in {len(ways)} ways",
            "at least 20 ways; 0 lost, 0 wrong, 0 untyped errors",
            f"{lost} lost, {counted['wrong']} wrong, {untyped} untyped errors",
            met=len(ways) >= 20 and lost == counted["wrong"] == untyped == 0,
        )
    ]
