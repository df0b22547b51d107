"""R9: the disk fills up at each place where a run writes; what stood there stays, and with room it ends as ever."""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from persona_env.cli.train import resume_training, run_training
from persona_env.runs.checkpoint import Checkpoints
from persona_env.runs.config import RunConfig
from persona_env.runs.run_folder import RunFolder
from tests.reliability.processes import ended, fork
from tests.reliability.rows import Row
from tests.runs.runs import SMALL, contents, go

__all__ = ["measure"]

_HALFWAY = 2 * SMALL["envs"] * SMALL["steps"]
_BIG = 64 << 10  # between the small files of a run and its weights, which are written past Python
_SITES = {
    "config.json": 0,
    "timing.jsonl": 0,
    "metrics.jsonl": 0,
    "tensors.safetensors": _BIG,
    "state.json": 0,
    "checksums.json": 0,
    "measured.json": 0,
    "model.safetensors": _BIG,
    "tokenizer_config.json": 0,
    "dialogues.jsonl": 0,
    "summary.json": 0,
    "sample.txt": 0,
}
"""Where a run writes, and how many bytes of a file there is still room for."""


def _fills_up(site: str, room: int) -> Callable[[], None]:
    """Returns what fills the disk as soon as the site is opened to be written (or, past Python, from the start)."""

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if writes and site in Path(str(arguments[0])).name:
            fill()

    if site == "model.safetensors":  # the checkpoints before it must still have room: its folder's first file is near
        site = "config.json"
    return fill if site == "tensors.safetensors" else lambda: sys.addaudithook(watch)


def _run(path: Path, before: Callable[[], None] = lambda: None) -> int:
    """Runs the command's own function on a folder in a child; returns its exit code, 2 where the disk was full."""

    def work() -> int:
        before()
        with contextlib.redirect_stdout(io.StringIO()):
            try:
                if (path / "config.json").is_file():
                    return resume_training(path, {})
                return run_training(RunConfig.from_flat(SMALL), path)
            except (ValueError, OSError) as error:
                return 2 if str(error).startswith("Expected ") and "\n" not in str(error) else 3

    return ended(fork(work))


def _interrupted(path: Path) -> None:
    """A run that was stopped with Ctrl-C: it has every artefact once, for the disk to spoil."""

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "training" and done >= _HALFWAY:
            raise KeyboardInterrupt

    assert ended(fork(lambda: go(path, progress).exit_code)) == 130


def _intact(path: Path, old: dict[str, str], new: dict[str, str]) -> bool:
    """Whether each artefact is the old or the new one, whole, and each checkpoint as it was written."""
    for name, digest in contents(path).items():
        if name.startswith("checkpoints/") or name == "metrics.jsonl":
            continue
        if digest not in (old.get(name), new.get(name)):
            return False
    for name in ("metrics.jsonl", "timing.jsonl"):
        if (path / name).is_file():
            text = (path / name).read_text()
            if text and not text.endswith("\n"):
                return False
            [json.loads(line) for line in text.splitlines()]
    checkpoints = Checkpoints(RunFolder(path, resume=(path / "config.json").is_file()))
    found = path / "checkpoints"
    names = [one.name for one in found.iterdir()] if found.is_dir() else []
    return all(checkpoints.find(name) for name in names)


def measure() -> list[Row]:
    """Fills the disk at each site in turn, then gives room again."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        assert _run(root / "unbroken") == 0
        new = contents(root / "unbroken")
        _interrupted(root / "begun")
        old = contents(root / "begun")
        told, intact, equal = [], [], []
        for number, (site, room) in enumerate(_SITES.items()):
            path = root / f"run-{number}"
            if site != "config.json":  # which is written once, before all
                shutil.copytree(root / "begun", path)
            told.append(_run(path, _fills_up(site, room)) == 2)
            intact.append(_intact(path, old, new))
            equal.append(_run(path) == 0 and contents(path) == new)
        met = all(told + intact + equal)
        failed = [site for site, *good in zip(_SITES, told, intact, equal, strict=True) if not all(good)]
        return [
            Row(
                "R9",
                f"disk full at {len(_SITES)} write sites of a run",
                "a one-line error; old artefacts intact; identical after space returns",
                f"{sum(told)} told, {sum(intact)} intact, {sum(equal)} identical of {len(_SITES)}"
                + (f"; not: {', '.join(failed)}" if failed else ""),
                met=met,
            )
        ]
