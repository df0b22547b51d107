"""R5, training: the judge's server is killed and started again; the run waits, invents nothing, and goes on."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from persona_env.models.reply_cache import ReplyCache
from persona_env.runs.run_judge import JOURNAL
from tests.reliability.processes import Server, ended, fork, wait_until
from tests.reliability.rows import Row
from tests.runs.runs import contents, go

__all__ = ["measure"]

_DOWN = 4.0
_PATIENCE = 4.0
_ALLOWED = 5.0
_ENDED = 75


def note_connections(port: int, file: Path) -> None:
    """Has this process write down when it tries to connect to the server, whether somebody is there or not."""
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect" and arguments[1][1] == port:
            os.write(handle, f"{time.monotonic()}\n".encode())

    sys.addaudithook(note)


def probes(file: Path, begin: float, end: float) -> tuple[int, float]:
    """Returns how often the server was tried between two moments, after the first half second, and for how long."""
    tried = [float(line) for line in file.read_text().splitlines()]
    first = min((one for one in tried if one > begin), default=begin) + 0.5
    return sum(first < one < end for one in tried), end - first


def replies(run: Path) -> int:
    """Returns how many replies a run's cache has."""
    with ReplyCache(run / JOURNAL) as cache:
        return len(cache)


def trains(run: Path) -> bool:
    """Whether the first rollout is over."""
    return (run / "metrics.jsonl").is_file()


def _killed_and_restarted(server: Server, run: Path) -> tuple[float, float]:
    """Returns how long the run took to go on once the server was back, and how often a second it had tried."""
    tried = run.with_suffix(".tried")

    def work() -> int:
        note_connections(server.port, tried)
        return go(run, judge=server.judge).exit_code

    child = fork(work)
    wait_until(lambda: trains(run))
    server.kill()
    killed = time.monotonic()
    wait_until(lambda: probes(tried, killed, time.monotonic())[1] > _DOWN)
    before, end = replies(run), time.monotonic()
    server.start()
    waited = wait_until(lambda: replies(run) > before)
    assert ended(child) == 0
    count, seconds = probes(tried, killed, end)
    return waited, count / seconds


def _killed_for_good(server: Server, run: Path) -> int:
    """Returns the exit code of a run whose judge does not come back in time."""
    child = fork(lambda: go(run, judge=server.judge, judge_outage_timeout=_PATIENCE).exit_code)
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
            waited, rate = _killed_and_restarted(server, root / "outage")
            same = contents(root / "outage") == unbroken
            code = _killed_for_good(server, root / "stopped")
            server.start()
            assert ended(fork(lambda: go(root / "stopped", judge=server.judge).exit_code)) == 0
            resumed = contents(root / "stopped") == unbroken
    finally:
        server.kill()
    return [
        Row(
            "R5",
            "judge's server killed in mid-training and started again",
            f"0 invented rewards; <= 1 probe/s; goes on <= {_ALLOWED:.0f} s after",
            f"run folder {'equal' if same else 'NOT equal'} to the unbroken; {rate:.2f} probes/s; "
            f"went on after {waited:.1f} s",
            met=same and rate <= 1 and waited <= _ALLOWED,
        ),
        Row(
            "R5",
            "judge's server killed in mid-training for good, then resumed",
            f"checkpoint and exit code {_ENDED}; resumed equal to the unbroken",
            f"exit code {code}; resumed {'equal' if resumed else 'NOT equal'}",
            met=code == _ENDED and resumed,
        ),
    ]
