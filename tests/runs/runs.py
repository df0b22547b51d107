"""Very short runs of the main job, here or in processes of their own that kill themselves."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from persona_env.runs.config import RunConfig
from persona_env.runs.result import TrainResult
from persona_env.runs.run_folder import RunFolder
from persona_env.runs.train_and_evaluate import Progress, TrainAndEvaluate

SMALL: dict[str, Any] = dict(
    tokens=3 * 8 * 32, envs=8, steps=32, batch=128, dialogues=4, extended_dialogues=2, lines=3, split="dev",
    checkpoint_every=1, threads=1,
)  # fmt: skip
CLOCK = ("seconds", "stages", "judge_usage")
"""What a summary says of time and cost, which no two runs share."""


def quiet(stage: str, done: int, total: int) -> None:
    """No progress bar."""


def go(path: Path, progress: Progress = quiet, **more: Any) -> TrainResult:
    """Runs the main job in a folder, or goes on with it where one has begun there."""
    folder = RunFolder(path, resume=(path / "config.json").is_file()).create()
    try:
        return TrainAndEvaluate(RunConfig.from_flat({**SMALL, **more})).run(folder, progress)
    finally:
        folder.close()


def started(path: Path, at: tuple[str, int, float] | None = None, **more: Any) -> int:
    """Runs the main job in a process of its own, and returns its exit code; minus the signal if one ended it.

    `at` stage, progress and seconds after it, the process kills itself with SIGKILL.
    """
    path_of_tests = os.pathsep.join(filter(None, sys.path))
    command = [sys.executable, "-m", "tests.runs.runs", str(path), json.dumps(at), json.dumps(more)]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": path_of_tests}, check=False).returncode


def when(stage: str, done: int, act: Callable[[], object]) -> Progress:
    """Acts as soon as so much of a stage is done."""

    def progress(name: str, far: int, total: int) -> None:
        if name == stage and far >= done:
            act()

    return progress


def contents(path: Path) -> dict[str, str]:
    """Returns the SHA-256 of each file of a run folder, without what depends on the clock or on SQLite's pages."""
    found = {}
    for file in sorted(path.rglob("*")):
        if file.is_file() and file.name != "timing.jsonl" and not file.name.startswith("replies.sqlite"):
            data = file.read_bytes()
            if file.name == "eval.jsonl":
                data = data.partition(b"\n")[2]  # the header holds the time
            if file.name == "summary.json":
                summary = {name: value for name, value in json.loads(data).items() if name not in CLOCK}
                data = json.dumps(summary).encode()
            found[str(file.relative_to(path))] = hashlib.sha256(data).hexdigest()
    return found


def small_talk(prompt: str) -> str:
    """What a served task agent says: always the same to the same line."""
    return f"How many hours do you sleep? {len(prompt) % 7}"


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _main(path: str, at: str, more: str) -> int:
    torch.set_num_threads(1)
    stage, done, seconds = json.loads(at) or ("", 0, 0.0)
    act = threading.Timer(seconds, _kill).start if seconds else _kill
    return go(Path(path), when(stage, done, act), **json.loads(more)).exit_code


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
