"""Verdicts per second: 1e5 of them from a warm store, against a server of 50 ms latency with 64 in flight.

The server is another process that answers each request after 50 ms with a judge's reply; the client is bare
asyncio, without a parser. What the store answers is counted with everything that a caller waits for: the
keys, the reading, the checksums, the order. Target: >= 50 x.

    python -m tests.benchmarks.warm_cache
"""

from __future__ import annotations

import asyncio
import multiprocessing
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from persona_env.judges import AnswerVsGold, LineVsHistory, LineVsPersona, LineVsPrevious, Query, Verdict
from persona_env.judges.kept import KeptJudge
from persona_env.judges.store import VerdictStore
from persona_env.persona import Fact, Persona, QAItem

__all__ = ["TARGET", "filled", "main", "served_rate", "warm_rate"]

TARGET = 50
LATENCY, IN_FLIGHT = 0.05, 64
_BODY = b'{"choices":[{"message":{"role":"assistant","content":"{\\"answer\\": \\"NO\\"}"},"finish_reason":"stop"}]}'
_REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(_BODY) + _BODY
_RAW = '["{\\"answer\\": \\"B\\", \\"n\\": %d}", "{\\"answer\\": \\"A\\"}"]'
_ASKED = b'{"model":"m","messages":[{"role":"user","content":"' + b"x" * 1200 + b'"}]}'
_REQUEST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(_ASKED) + _ASKED


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            await reader.readexactly(len(_REQUEST))
            await asyncio.sleep(LATENCY)
            writer.write(_REPLY)
    except asyncio.IncompleteReadError:
        writer.close()


async def _serving(ready: Connection) -> None:
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    ready.send(server.sockets[0].getsockname()[1])
    async with server:
        await server.serve_forever()


def _serve(ready: Connection) -> None:
    asyncio.run(_serving(ready))


async def _worker(port: int, jobs: asyncio.Queue[int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while not jobs.empty():
        jobs.get_nowait()
        writer.write(_REQUEST)
        await reader.readexactly(len(_REPLY))
    writer.close()


async def _asking(port: int, count: int) -> float:
    jobs: asyncio.Queue[int] = asyncio.Queue()
    for job in range(count):
        jobs.put_nowait(job)
    begin = time.perf_counter()
    await asyncio.gather(*(_worker(port, jobs) for _ in range(IN_FLIGHT)))
    return count / (time.perf_counter() - begin)


def served_rate(count: int = 3000) -> float:
    """Returns the verdicts per second that a bare client gets from the server, one request for each."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=_serve, args=(theirs,), daemon=True)
    server.start()
    try:
        return asyncio.run(_asking(ours.recv(), count))
    finally:
        server.kill()
        server.join()


class Model:
    """Answers as a language model does, each question with a reply of its own; counts what it is asked."""

    identity = {"kind": "openai", "model": "m", "base_url": "http://127.0.0.1/v1", "prompts": "9a1f"}  # noqa: RUF012

    def __init__(self) -> None:
        self.asked = 0

    def judge(self, questions: Sequence[Query]) -> list[Verdict]:
        """Returns the verdicts, in order."""
        start, self.asked = self.asked, self.asked + len(questions)
        return [Verdict("consistent", (), "", 0.97, _RAW % i) for i in range(start, self.asked)]


def different_questions(count: int) -> list[Query]:
    """Returns questions of the four kinds about a hundred people, no two of them the same."""
    people = [
        Persona(
            *(f"p{i}", "patient", f"Ann {i}", f"You are Ann {i}. You sleep four hours and see nobody. " * 5),
            facts=tuple(Fact(f"k{j}", f"v{j}", f"text {j}") for j in range(8)),
            questions=tuple(QAItem(f"gold {j}", ("How long do you sleep?",)) for j in range(8)),
        )
        for i in range(100)
    ]
    found = list[Query]()
    for i in range(0, count, 4):
        person, line = people[i // 4 % 100], f"I sleep about four hours and {i} minutes, if at all."
        earlier = tuple(f"I said {j} of {i} before." for j in range(i // 4 % 8))
        found.append(LineVsPersona(person, line, "How have you been sleeping?"))
        found.append(LineVsHistory("patient", line, earlier))
        found.append(AnswerVsGold("patient", "How long do you sleep?", "Four hours", line))
        found.append(LineVsPrevious(person, "How have you been sleeping?", line))
    return found[:count]


def filled(path: Path, questions: Sequence[Query]) -> list[Verdict]:
    """Fills a store and returns the verdicts."""
    with VerdictStore(path) as store:
        return KeptJudge(Model(), store, chunk=5000).judge(questions)


def warm_rate(path: Path, questions: Sequence[Query], given: Sequence[Verdict]) -> float:
    """Returns the verdicts per second that a warm store gives through `KeptJudge`, opened anew.

    Raises:
        AssertionError: If the verdicts are others, or the judge was asked.
    """
    with VerdictStore(path, check=False) as store:
        judge, begin = KeptJudge(Model(), store), time.perf_counter()
        again = judge.judge(questions)
        seconds = time.perf_counter() - begin
    if again != given or judge.misses:
        raise AssertionError(f"Expected the verdicts that were kept, got {judge.misses} asked again.")
    return len(questions) / seconds


def main(count: int = 100_000) -> bool:
    """Prints the ratio of the best of three runs of either, in turns, and returns whether it is enough."""
    questions = different_questions(count)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "verdicts.db"
        given = filled(path, questions)
        rates = [(served_rate(), warm_rate(path, questions, given)) for _ in range(3)]
    served, warm = map(max, zip(*rates, strict=True))
    print(f"warm store: {warm:,.0f} verdicts/s on {count:,}, x{warm / served:.0f} a server of {1e3 * LATENCY:.0f} ms")
    print(f"            with {IN_FLIGHT} in flight, {served:,.0f}/s (target >= {TARGET})")
    return warm >= TARGET * served


if __name__ == "__main__":
    raise SystemExit(not main())
