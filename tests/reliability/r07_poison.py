"""R7: prompts that are too long, and one that takes the server's process down each time it is asked."""

from __future__ import annotations

import time

from persona_env.models.client import ChatRequest
from persona_env.models.faults import Quarantined, TooLong
from tests.models.asked import client, outcomes, requests
from tests.models.fault_server import FaultServer, fault_process
from tests.reliability.rows import Row

_VERDICTS, _LONGEST, _POISON = 400, 2000, 123


def too_long() -> Row:
    """Every tenth prompt is too long for the server."""
    asked_for = requests(_VERDICTS)
    for i in range(0, _VERDICTS, 10):
        asked_for[i] = ChatRequest((("user", "x" * (_LONGEST + 1 + i)),), 32)
    with FaultServer() as server, client(server, longest=_LONGEST) as asked:
        replies = asked.complete(asked_for)
    sent = sum(sum(len(m["content"]) for m in call.sent["messages"]) > _LONGEST for call in server.calls)
    refused = sum(isinstance(reply, TooLong) for reply in replies)
    right = outcomes(replies)["right"]
    return Row(
        "R7",
        f"{_VERDICTS} verdicts, {_VERDICTS // 10} of them with a prompt above {_LONGEST} characters",
        "0 over-long sent, all others right",
        f"{sent} sent, {refused} refused before, {right} others right",
        met=sent == 0 and refused == _VERDICTS // 10 and right == _VERDICTS - refused,
    )


def deadly() -> Row:
    """The server's process dies with one prompt, and is started again each time."""
    deaths = 0
    with fault_process("--latency", "0.05", "--poison", f"line {_POISON}") as server, client(server) as asked:
        future = asked.submit(requests(_VERDICTS))
        while not future.done():
            if server.is_dead:
                deaths += 1
                server.kill()
                time.sleep(0.5)
                server.start()
            time.sleep(0.01)
        replies = future.result()
    aside, right = isinstance(replies[_POISON], Quarantined), outcomes(replies)["right"]
    return Row(
        "R7",
        f"{_VERDICTS} verdicts, one of which kills the server's process each time",
        "the item is quarantined, all others right",
        f"{'quarantined' if aside else type(replies[_POISON]).__name__} after {deaths} deaths, {right} others right",
        met=aside and right == _VERDICTS - 1,
    )


def measure() -> list[Row]:
    """Returns the rows."""
    return [too_long(), deadly()]
