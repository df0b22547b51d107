"""Verdicts per second through the client against those of a bare asyncio HTTP client, in one run.

A server in a process of its own answers after 50 ms; 64 calls are in flight. The bare client does nothing but
write a request, read as many bytes as the header says and parse the JSON: no deadline, no limits, no checks.
Target: >= 0.8.

    python -m tests.benchmarks.remote_throughput
"""

from __future__ import annotations

import asyncio
import json
import time

from persona_env.models.client import ChatClient, ChatReply, ChatRequest, Endpoint
from tests.models.behaviours import right_answer
from tests.models.fault_server import fault_process

VERDICTS, IN_FLIGHT, LATENCY = 4000, 64, 0.05


def requests(number: int) -> list[ChatRequest]:
    """Returns requests of the size of a verdict's."""
    system, user = "Say whether the line fits. " * 20, "What was said so far, and the line. " * 25
    return [ChatRequest((("system", system), ("user", f"{user}{i}")), 32) for i in range(number)]


def by_client(port: int, number: int) -> float:
    """Returns verdicts per second through the client."""
    with ChatClient(Endpoint("m", f"http://127.0.0.1:{port}/v1"), max_in_flight=IN_FLIGHT) as client:
        asked = requests(number)
        begin = time.perf_counter()
        replies = client.complete(asked)
        seconds = time.perf_counter() - begin
    right = [right_answer(request.messages[-1][1]) for request in asked]
    assert [reply.text for reply in replies if isinstance(reply, ChatReply)] == right
    return number / seconds


def by_bare(port: int, number: int) -> float:
    """Returns verdicts per second of a client that only writes and reads."""
    asked = requests(number)
    begin = time.perf_counter()
    asyncio.run(_bare(port, asked))
    return number / (time.perf_counter() - begin)


async def _bare(port: int, asked: list[ChatRequest]) -> None:
    left = iter(asked)

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for request in left:
            body = request.body("m")
            writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body))
            writer.write(body)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
            json.loads(await reader.readexactly(length))
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))


def measure(number: int = VERDICTS, times: int = 3) -> tuple[float, float]:
    """Returns the best of each, bare and client, taken in turns."""
    with fault_process("--latency", str(LATENCY)) as server:
        runs = [(by_bare(server.port, number), by_client(server.port, number)) for _ in range(times)]
    return max(bare for bare, _ in runs), max(client for _, client in runs)


def main() -> None:
    """Prints the ratio."""
    bare, client = measure()
    print(f"remote: {client:.0f} verdicts/s, x{client / bare:.2f} a bare asyncio client's (target >= 0.8)", flush=True)


if __name__ == "__main__":
    main()
