"""A chat server on raw asyncio that misbehaves as told: in a thread, or as a process of its own.

with FaultServer(by_chance(0.3, HTTP_FAULTS)) as server: ... server.base_url, server.calls
python -m tests.models.fault_server --latency 0.05        # prints its port
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import os
import pkgutil
import random
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from typing import Any

from tests.models import behaviours
from tests.models.behaviours import Behaviour, Call, Wire, completion, right_answer, well

_ACCEPTED = 10  # steps of the loop within which an accepted connection is a task


class FaultProcess:
    """A server in a process of its own, which can be killed and started again on the same port."""

    def __init__(self, *options: str):
        self._options, self.port = options, 0
        self.start()

    def __enter__(self) -> FaultProcess:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    @property
    def spec(self) -> str:
        return f"some-model@http://127.0.0.1:{self.port}/v1"

    @property
    def asked(self) -> int:
        """How many requests came since it was started."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/") as reply:
            return int(reply.read())

    def start(self) -> None:
        run = [sys.executable, "-m", "tests.models.fault_server", "--port", str(self.port), *self._options]
        path = os.pathsep.join(filter(None, sys.path))
        self._process = subprocess.Popen(run, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path})
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


class FaultServer:
    """Listens in a thread of its own; `behave` chooses what is done with a call, after `latency` seconds."""

    def __init__(
        self,
        behave: Callable[[Call], Behaviour] = lambda call: well,
        *,
        answer: Callable[[str], str] = right_answer,
        latency: float | Callable[[Call], float] = 0.0,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ):
        self.behave, self.answer, self.latency, self.port, self.tls = behave, answer, latency, port, tls
        self.calls: list[Call] = []
        self.connections = self.in_flight = self.most_in_flight = 0
        self._tasks = set[asyncio.Task[Any]]()
        self._started = threading.Event()

    @property
    def base_url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/v1"

    @property
    def spec(self) -> str:
        return f"some-model@{self.base_url}"

    def __enter__(self) -> FaultServer:
        self._started.clear()
        self._thread = threading.Thread(target=lambda: asyncio.run(self.serve()))
        self._thread.start()
        self._started.wait(10)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def serve(self, started: Callable[[], None] = lambda: None) -> None:
        """Serves until it is stopped."""
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._connected, "127.0.0.1", self.port, backlog=512, ssl=self.tls)
        self.port = server.sockets[0].getsockname()[1]
        started()
        self._started.set()
        await self._stop.wait()
        for listening in server.sockets:  # what asyncio is just accepting when a server closes stays open for ever
            self._loop.remove_reader(listening.fileno())
        for _ in range(_ACCEPTED):
            await asyncio.sleep(0)
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        sent = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"{}")
        call = Call(len(self.calls), time.monotonic(), first.split()[1], headers, sent)
        if first.startswith("GET"):
            await Wire(call, reader, writer, b"").respond(b"%d" % len(self.calls))
            return True
        self.calls.append(call)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            behaviour = self.behave(call)
            latency = self.latency(call) if callable(self.latency) else self.latency
            if latency:
                await asyncio.sleep(latency)
            wire = Wire(call, reader, writer, json.dumps(completion(self.answer(call.prompt))).encode())
            await behaviour(wire)
            return wire.open
        finally:
            self.in_flight -= 1


def main() -> None:
    """Serves in this process until it is killed; prints the port."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--sigma", type=float, default=0.0, help="latencies are lognormal, the same for each prompt")
    parser.add_argument("--faults", type=float, default=0.0)
    parser.add_argument("--bodies", type=float, default=0.0)
    parser.add_argument("--misdirected", type=float, default=0.0)
    parser.add_argument("--always", default="well", choices=behaviours.ALL)
    parser.add_argument("--answer", type=pkgutil.resolve_name, default=right_answer)
    given = parser.parse_args()
    faults = behaviours.by_chance(given.faults, behaviours.HTTP_FAULTS)
    bodies = behaviours.by_chance(given.bodies, behaviours.BAD_BODIES, seed=1)
    misdirected = behaviours.by_chance(given.misdirected, behaviours.misdirected(), seed=2)

    def behave(call: Call) -> Behaviour:
        chosen = faults(call)
        chosen = bodies(call) if chosen is well else chosen
        chosen = misdirected(call) if chosen is well else chosen
        return behaviours.ALL[given.always] if chosen is well else chosen

    def latency(call: Call) -> float:
        return given.latency and random.Random(call.prompt).lognormvariate(math.log(given.latency), given.sigma)

    server = FaultServer(behave, answer=given.answer, latency=latency, port=given.port)
    asyncio.run(server.serve(lambda: print(server.port, flush=True)))


if __name__ == "__main__":
    main()
