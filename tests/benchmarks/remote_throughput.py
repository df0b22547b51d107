"""A run's requests through our client, with a cache, against one big batch of a bare aiohttp client, in one run.

A server in a process of its own answers 1,500 requests after lognormal times (median 50 ms, sigma .8); 64 are in
flight. The bare client posts and parses the JSON: no retries, no limits, no checks, no cache. Target: <= 1.15 x.

    python -m tests.benchmarks.remote_throughput
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from pathlib import Path

import aiohttp

from persona_env.models.chat import ChatReply, ChatRequest
from persona_env.models.chat_api import ChatClient
from persona_env.models.dialect import encoded
from persona_env.models.endpoint import Endpoint
from persona_env.models.limits import ModelResources
from persona_env.models.reply_cache import ReplyCache
from tests.benchmarks.models import best_seconds
from tests.models.behaviours import right_answer
from tests.models.fault_server import FaultProcess

REQUESTS, IN_FLIGHT, MEDIAN, TARGET = 1500, 64, 0.05, 1.15


def requests(number: int) -> list[ChatRequest]:
    """Returns requests of the size of a judge's."""
    system, user = "Say whether the line fits. " * 20, "What was said so far, and the line. " * 25
    return [ChatRequest((("system", system), ("user", f"{user}{i}")), 32) for i in range(number)]


def by_client(port: int, number: int) -> float:
    """Returns the seconds that our client takes."""
    asked = requests(number)
    with (
        tempfile.TemporaryDirectory() as folder,
        ReplyCache(Path(folder) / "replies.sqlite") as cache,
        ChatClient(Endpoint("m", f"http://127.0.0.1:{port}/v1"), max_in_flight=IN_FLIGHT) as client,
    ):
        client.use(ModelResources((cache,)))
        begin = time.perf_counter()
        replies = client.complete(asked)
        seconds = time.perf_counter() - begin
        assert len(cache) == number
    right = [right_answer(request.messages[-1][1]) for request in asked]
    assert [reply.text for reply in replies if isinstance(reply, ChatReply)] == right
    return seconds


async def _bare(port: int, asked: list[ChatRequest]) -> None:
    left = iter(asked)
    url = f"http://127.0.0.1:{port}/v1/chat/completions"

    async def work(session: aiohttp.ClientSession) -> None:
        for request in left:
            async with session.post(url, data=encoded({"model": "m", **request.fields})) as response:
                json.loads(await response.read())

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(work(session) for _ in range(IN_FLIGHT)))


def by_bare(port: int, number: int) -> float:
    """Returns the seconds of a client that only posts and reads."""
    asked = requests(number)
    return best_seconds(lambda: asyncio.run(_bare(port, asked)), 1)


def measure(number: int = REQUESTS, times: int = 3) -> tuple[float, float]:
    """Returns the best of each, bare and ours, taken in turns."""
    with FaultProcess("--latency", str(MEDIAN), "--sigma", "0.8") as server:
        runs = [(by_bare(server.port, number), by_client(server.port, number)) for _ in range(times)]
    return min(bare for bare, _ in runs), min(ours for _, ours in runs)


def main() -> bool:
    bare, ours = measure()
    told = f"{REQUESTS} requests in {ours:.2f} s, x{ours / bare:.2f} a bare aiohttp client's"
    print(f"remote: {told} (target <= {TARGET})")
    return ours <= TARGET * bare


if __name__ == "__main__":
    raise SystemExit(not main())
