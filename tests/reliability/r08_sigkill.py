"""R8: a training that is killed 20 times at random moments ends with the very files of the unbroken one."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from pathlib import Path

from tests.learning.runs import contents, ended, fork, go
from tests.reliability.rows import Row

__all__ = ["measure"]

_KILLS = 20
_FILES = ("metrics.jsonl", "dialogues.jsonl", "model/model.safetensors")


def _started(path: Path) -> int:
    return fork(lambda: go(path).exit_code)


def measure() -> list[Row]:
    """Kills runs one after the other, each resumed until it is done, and compares each with the unbroken one."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        begin = time.monotonic()
        assert ended(_started(root / "unbroken")) == 0
        length, unbroken = time.monotonic() - begin, contents(root / "unbroken")
        kills = runs = equal = 0
        rng = random.Random(8)
        while kills < _KILLS:
            runs, path = runs + 1, root / f"run-{runs}"
            kills += _killed(path, rng, length, _KILLS - kills)
            equal += contents(path) == unbroken
        assert all(name in unbroken for name in _FILES)
        return [
            Row(
                "R8",
                f"SIGKILL x {kills} at random moments of {runs} trainings ({len(unbroken)} files each)",
                "all files' SHA-256 equal to the unbroken run's",
                f"{equal} of {runs} equal",
                met=equal == runs,
            )
        ]


def _killed(path: Path, rng: random.Random, length: float, most: int) -> int:
    """Runs and kills until the run is done; returns how many kills there were."""
    kills = 0
    while True:
        child = _started(path)
        if kills < most:
            time.sleep(rng.uniform(0.05, 0.6) * length)
            if os.waitpid(child, os.WNOHANG)[0]:
                return kills
            os.kill(child, signal.SIGKILL)
            ended(child)
            kills += 1
        else:
            assert ended(child) == 0
            return kills
