"""R5, training: the judge's server is killed and started again; the run waits, invents nothing, and goes on."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from persona_env.judges.store import VerdictStore
from persona_env.learning.run_judge import JOURNAL
from tests.learning.runs import contents, ended, fork, go
from tests.reliability.rows import Row

__all__ = ["measure"]

_DOWN = 4.0
_PATIENCE = 4.0
_ALLOWED = 5.0
_ENDED = 75


class Server:
    """The oracle's server in a process of its own, at a port that stays the same."""

    def __init__(self) -> None:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port: int = found.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def judge(self) -> str:
        """The judge's spec."""
        return f"openai:oracle@http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        """Starts it and waits until it listens."""
        path = os.pathsep.join(filter(None, sys.path))
        command = [sys.executable, "-m", "tests.reliability.oracle_server", str(self.port)]
        self._process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path})
        wait_until(self._listens)

    def _listens(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        return False

    def kill(self) -> None:
        """Ends it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def counted_probes(port: int) -> Iterator[list[float]]:
    """Listens where the server was, and notes when somebody knocks; nobody is answered."""
    knocks: list[float] = []
    with socket.socket() as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(("127.0.0.1", port))
        door.listen(64)

        def watch() -> None:
            with contextlib.suppress(OSError):
                while True:
                    door.accept()[0].close()
                    knocks.append(time.monotonic())

        threading.Thread(target=watch, daemon=True).start()
        yield knocks
        door.shutdown(socket.SHUT_RDWR)


def wait_until(true: Callable[[], bool], most: float = 300.0) -> float:
    """Waits until something is true; returns the seconds that took."""
    begin = time.monotonic()
    while not true():
        if time.monotonic() - begin > most:
            raise TimeoutError(f"Expected it within {most:.0f} s, got nothing: the run hangs.")
        time.sleep(0.02)
    return time.monotonic() - begin


def verdicts(run: Path) -> int:
    """Returns how many verdicts a run's journal has."""
    with VerdictStore(run / JOURNAL, read_only=True, check=False) as store:
        return len(store)


def trains(run: Path) -> bool:
    """Whether the first rollout is over."""
    return (run / "metrics.jsonl").is_file()


def _killed_and_restarted(server: Server, run: Path) -> tuple[float, int]:
    """Returns how long the run took to go on once the server was back, and how often it had knocked."""
    child = fork(lambda: go(run, judge=server.judge).exit_code)
    wait_until(lambda: trains(run))
    server.kill()
    time.sleep(1.0)  # what was in flight has failed by now
    with counted_probes(server.port) as knocks:
        time.sleep(_DOWN)
    knocked, before = len(knocks), verdicts(run)
    server.start()
    waited = wait_until(lambda: verdicts(run) > before)
    assert ended(child) == 0
    return waited, knocked


def _killed_for_good(server: Server, run: Path) -> int:
    """Returns the exit code of a run whose judge does not come back in time."""
    child = fork(lambda: go(run, judge=server.judge, judge_patience=_PATIENCE).exit_code)
    wait_until(lambda: trains(run))
    server.kill()
    return ended(child)


def measure() -> list[Row]:
    """Trains three times with a judge behind a server: undisturbed, with an outage, and with one too long."""
    server = Server()
    server.start()
    try:
        with tempfile.TemporaryDirectory() as name:
            root = Path(name)
            assert ended(fork(lambda: go(root / "unbroken", judge=server.judge).exit_code)) == 0
            unbroken = contents(root / "unbroken")
            waited, knocked = _killed_and_restarted(server, root / "outage")
            same = contents(root / "outage") == unbroken
            code = _killed_for_good(server, root / "stopped")
            server.start()
            assert ended(fork(lambda: go(root / "stopped", judge=server.judge).exit_code)) == 0
            resumed = contents(root / "stopped") == unbroken
    finally:
        server.kill()
    most = int(_DOWN) + 1
    return [
        Row(
            "R5",
            "judge's server killed in mid-training and started again",
            f"0 invented rewards; <= 1 probe/s; goes on <= {_ALLOWED:.0f} s after",
            f"run folder {'equal' if same else 'NOT equal'} to the unbroken; {knocked} probes in {_DOWN:.0f} s; "
            f"went on after {waited:.1f} s",
            met=same and knocked <= most and waited <= _ALLOWED,
        ),
        Row(
            "R5",
            "judge's server killed in mid-training for good, then resumed",
            f"checkpoint and exit code {_ENDED}; resumed equal to the unbroken",
            f"exit code {code}; resumed {'equal' if resumed else 'NOT equal'}",
            met=code == _ENDED and resumed,
        ),
    ]
