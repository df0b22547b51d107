"""Very short runs of the main job, in child processes that can be killed without a trace."""

from __future__ import annotations

import hashlib
import json
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers.models.llama.modeling_llama  # noqa: F401 - here, and not in each child

import persona_env.runs.training  # noqa: F401 - likewise
from persona_env.runs.train_and_evaluate import TrainAndEvaluate, Progress
from persona_env.runs.result import TrainResult
from persona_env.runs.run_folder import RunFolder
from persona_env.runs.config import RunConfig

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the tokenizers' threads do not survive a fork

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


def fork(work: Callable[[], Any]) -> int:
    """Starts a child process that does the work; it exits with what the work returns, 0 for None, 1 after an error."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        code = work() or 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def ended(child: int) -> int:
    """Waits for a child and returns its exit code; minus the signal if one ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def contents(path: Path) -> dict[str, str]:
    """Returns the SHA-256 of each file of a run folder, without what depends on the clock or on SQLite's pages."""
    found = {}
    for file in sorted(path.rglob("*")):
        if file.is_file() and file.name != "timing.jsonl" and not file.name.startswith("verdicts.sqlite"):
            data = file.read_bytes()
            if file.name == "summary.json":
                summary = {name: value for name, value in json.loads(data).items() if name not in CLOCK}
                data = json.dumps(summary).encode()
            found[str(file.relative_to(path))] = hashlib.sha256(data).hexdigest()
    return found
