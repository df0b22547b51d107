"""R13: a log of 1e5 lines is read one line at a time: how much memory and how long it takes."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from persona_env.conversation import Conversation
from persona_env.io import LoggedDialogue, LoggedReply, iter_logs, save_logs
from persona_env.persona import Persona
from tests.reliability.rows import Row

_LINES = 100_000
_MEGABYTES, _SECONDS = 32.0, 5.0


def write(path: Path, count: int) -> None:
    """Writes dialogues of one exchange, with a persona and what a judge replied to the answer."""
    ann = Persona("p1", "patient", "Ann", "You are Ann. You sleep four hours.")
    talk = Conversation(ann).with_reply("How do you sleep?").with_line("Four hours.")
    replies = [LoggedReply("prompt_to_line", 1, "NO", label="consistent", probability=0.9)]
    record = LoggedDialogue.of(talk, replies)
    save_logs(path, (record for _ in range(count)))


def read(path: str) -> dict[str, float]:
    """Reads a log in this process and returns lines, seconds (of the clock, of the processor) and growth in MB."""
    next(iter(iter_logs(path)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin, worked = time.perf_counter(), time.process_time()
    lines = sum(1 for _ in iter_logs(path))
    seconds, worked = time.perf_counter() - begin, time.process_time() - worked
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {"lines": lines, "seconds": seconds, "worked": worked, "growth": growth}


def measure() -> list[Row]:
    """Returns the row; the log is read in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.jsonl"
        write(path, _LINES)
        run = [sys.executable, "-m", __name__, str(path)]
        found = json.loads(subprocess.run(run, capture_output=True, text=True, check=True).stdout)
    return [
        Row(
            "R13",
            f"a log of {_LINES} lines, each a dialogue with persona and verdict",
            f"<= +{_MEGABYTES:.0f} MB, <= {_SECONDS:.0f} s",
            f"{found['lines']:.0f} read, +{found['growth']:.1f} MB, {found['seconds']:.1f} s "
            f"({found['worked']:.1f} s of the processor)",
            met=found["lines"] == _LINES and found["growth"] <= _MEGABYTES and found["seconds"] <= _SECONDS,
        )
    ]


if __name__ == "__main__":
    print(json.dumps(read(sys.argv[1])))
