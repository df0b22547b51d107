"""R5, the client's half: the server's process is killed and started again while verdicts are asked."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from persona_env.models.chat_api import ChatClient
from persona_env.models.faults import Unavailable
from persona_env.models.limits import ModelResources
from persona_env.models.reply_cache import ReplyCache
from tests.models.asked import client, outcomes, requests
from tests.models.fault_server import FaultProcess, fault_process
from tests.reliability.rows import Row

_VERDICTS, _OUTAGES, _DOWN = 4000, 2, 5.0


def outage(server: FaultProcess, asked: ChatClient, future: Future[Any]) -> tuple[float, float]:
    """Kills the server for a while; returns the probes per second, and how long after it went on."""
    server.kill()
    time.sleep(0.5)  # what was in flight has come back broken
    calls, begin = asked.usage.calls, time.monotonic()
    time.sleep(_DOWN)
    probes = (asked.usage.calls - calls) / (time.monotonic() - begin)
    server.start()
    replied, begin = asked.usage.completion_tokens, time.monotonic()
    while asked.usage.completion_tokens == replied and not future.done():
        time.sleep(0.01)
    return probes, time.monotonic() - begin


def killed() -> Row:
    """The server comes back each time."""
    with fault_process("--latency", "0.1") as server, client(server) as asked, ThreadPoolExecutor() as pool:
        future, probes, after = pool.submit(asked.complete, requests(_VERDICTS)), [0.0], [0.0]
        for _ in range(_OUTAGES):
            time.sleep(1.5)
            rate, seconds = outage(server, asked, future)
            probes.append(rate)
            after.append(seconds)
        counted = outcomes(future.result(120))
    return Row(
        "R5",
        f"server killed {_OUTAGES} times for {_DOWN:g} s during {_VERDICTS} verdicts (client)",
        "0 wrong, 0 lost; at most 1 probe/s; goes on within 5 s",
        f"{counted['wrong']} wrong, {_VERDICTS - counted['right'] - counted['wrong']} lost; {max(probes):.2f} "
        f"probes/s; went on after {max(after):.2f} s",
        met=counted["right"] == _VERDICTS and max(probes) <= 1 and max(after) <= 5,
    )


def stays_down() -> Row:
    """The server does not come back."""
    with (
        TemporaryDirectory() as folder,
        ReplyCache(Path(folder) / "replies.sqlite") as cache,
        fault_process("--latency", "0.1") as server,
        client(server, outage_timeout=2.0) as asked,
        ThreadPoolExecutor() as pool,
    ):
        asked.use(ModelResources((cache,)))
        future = pool.submit(asked.complete, requests(_VERDICTS))
        time.sleep(1.0)
        server.kill()
        begin = time.monotonic()
        ended = future.exception(60)
        seconds, kept = time.monotonic() - begin, len(cache)
    code = ended.exit_code if isinstance(ended, Unavailable) else None
    return Row(
        "R5",
        "server killed for good, outage_timeout 2 s (client)",
        "ends with exit code 75, what was replied is in the cache",
        f"{type(ended).__name__} after {seconds:.1f} s, exit code {code}, {kept} replies in the cache",
        met=code == 75 and kept > 0 and seconds < 5,
    )


def measure() -> list[Row]:
    """Returns the rows."""
    return [killed(), stays_down()]
