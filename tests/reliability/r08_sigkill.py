"""R8: what is killed 20 times at random moments, while it judges or trains, ends with what the unbroken one has."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from persona_env.judges import LineVsPersona, Query
from persona_env.runs.run_judge import RunJudge
from persona_env.world import personas
from tests.reliability.processes import Server, ended, fork
from tests.reliability.rows import Row
from tests.runs.runs import contents, go

__all__ = ["measure"]

_KILLS = 20
_IN_FLIGHT = 64
_FILES = ("metrics.jsonl", "eval.jsonl", "model/model.safetensors")


def measure() -> list[Row]:
    """Kills judging and training runs, each resumed until it is done, and compares each with the unbroken one."""
    with tempfile.TemporaryDirectory() as name:
        return [_judging(Path(name)), _training(Path(name))]


def _killed(start: Callable[[], int], rng: random.Random, length: float, most: int) -> int:
    """Runs and kills until the run is done; returns how many kills there were."""
    kills = 0
    while True:
        child = start()
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


def _training(root: Path) -> Row:
    def started(path: Path) -> int:
        return fork(lambda: go(path).exit_code)

    begin = time.monotonic()
    assert ended(started(root / "unbroken")) == 0
    length, unbroken = time.monotonic() - begin, contents(root / "unbroken")
    assert all(name in unbroken for name in _FILES)
    kills = runs = equal = 0
    rng = random.Random(8)
    while kills < _KILLS:
        runs, path = runs + 1, root / f"run-{runs}"
        kills += _killed(lambda path=path: started(path), rng, length, _KILLS - kills)
        equal += contents(path) == unbroken
    return Row(
        "R8",
        f"SIGKILL x {kills} at random moments of {runs} trainings ({len(unbroken)} files each)",
        "SHA-256 of all files equal to the unbroken run's",
        f"{equal} of {runs} equal",
        met=equal == runs,
    )


def _questions() -> list[Query]:
    people = [personas("patient", "train")[place] for place in range(50)]
    return [LineVsPersona(one, f"I sleep {hours} hours.", "How do you sleep?") for one in people for hours in range(20)]


def _judged(folder: Path, spec: str) -> str:
    """Judges all questions with a run's judge and returns the verdicts as text."""
    folder.mkdir(exist_ok=True)
    judge = RunJudge(spec, personas=personas("patient", "train"))
    judge.open(folder)
    verdicts = judge.judge(_questions())
    judge.close()
    return repr(verdicts)


def _judging(root: Path) -> Row:
    server = Server()
    server.start()

    def started(path: Path) -> int:
        return fork(lambda: _judged(path, server.judge) and 0)

    try:
        begin = time.monotonic()
        assert ended(started(root / "judged")) == 0
        length, once = time.monotonic() - begin, server.asked
        kills = runs = 0
        rng = random.Random(8)
        while kills < _KILLS:
            runs, path = runs + 1, root / f"judged-{runs + 1}"
            kills += _killed(lambda path=path: started(path), rng, length, _KILLS - kills)
        repeated = server.asked - (runs + 1) * once
        unbroken = _judged(root / "judged", server.judge)
        equal = sum(_judged(root / f"judged-{run}", server.judge) == unbroken for run in range(1, runs + 1))
    finally:
        server.kill()
    return Row(
        "R8",
        f"SIGKILL x {kills} at random moments of {runs} judgings of {len(_questions()):,} questions",
        f"log equal to the unbroken one; repeats <= {_IN_FLIGHT} in flight x kills = {_IN_FLIGHT * kills}",
        f"{equal} of {runs} equal; {repeated} of {once * runs:,} requests repeated",
        met=equal == runs and repeated <= _IN_FLIGHT * kills,
    )
