"""R22: the same verdicts with 1 and with 16 requests in flight."""

from __future__ import annotations

import json
import random
from dataclasses import asdict
from hashlib import sha256

from persona_env.models.chat import ChatReply
from tests.models.asked import client, requests
from tests.models.behaviours import BAD_BODIES, HTTP_FAULTS, by_chance
from tests.models.fault_server import FaultServer
from tests.reliability.rows import Row

_VERDICTS = 400


def canonical(in_flight: int) -> tuple[str, int]:
    """Returns the hash of the replies as canonical JSON, and how many were in flight at most.

    The server takes a random time for each and fails one call in ten.
    """
    ways = {name: way for name, way in (HTTP_FAULTS | BAD_BODIES).items() if "429" not in name}  # they slow it down
    rng, faults = random.Random(in_flight), by_chance(0.1, ways, seed=in_flight)
    with (
        FaultServer(faults, latency=lambda call: rng.uniform(0, 0.01)) as server,
        client(server, max_in_flight=in_flight) as asked,
    ):
        replies = asked.complete(requests(_VERDICTS))
    log = [asdict(reply) if isinstance(reply, ChatReply) else repr(reply) for reply in replies]
    text = json.dumps(log, sort_keys=True, separators=(",", ":"))
    return sha256(text.encode()).hexdigest(), server.most_in_flight


def measure() -> list[Row]:
    """Returns the row."""
    (one, alone), (many, together) = canonical(1), canonical(16)
    return [
        Row(
            "R22",
            f"{_VERDICTS} verdicts through 10 % faults and random delays, 1 against 16 in flight",
            "identical canonical log",
            f"{'identical' if one == many else 'different'} ({one[:12]}, {many[:12]}; {together} were in flight)",
            met=one == many and alone == 1 and together > 8,
        )
    ]
