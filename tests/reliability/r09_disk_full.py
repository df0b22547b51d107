"""R9: the disk fills up at each place where a run writes; what stood there stays, and with room it ends as ever."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from persona_env.cli.train import resume_training, run_training
from persona_env.errors import InputError
from persona_env.runs.checkpoint import Checkpoints
from persona_env.runs.config import RunConfig
from persona_env.runs.run_folder import RunFolder
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
    "model.safetensors": _BIG,
    "tokenizer_config.json": 0,
    "eval.jsonl": 0,
    "summary.json": 0,
    "sample.txt": 0,
}
"""Where a run writes, and how many bytes of a file there is still room for."""


class _Disk:
    """Lets no file grow beyond `room` bytes once `site` is opened to be written (or, past Python, from now on)."""

    def __init__(self) -> None:
        self.site, self.room = "", 0
        self._limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        sys.addaudithook(self._watch)  # which stays for good

    def _watch(self, event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if writes and self.site and self.site in Path(str(arguments[0])).name:
            self._limit(self.room)

    def _limit(self, room: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, self._limits[1]))

    @contextlib.contextmanager
    def full(self, site: str, room: int) -> Iterator[None]:
        """The disk is full inside; there is room again after."""
        # The checkpoints before the model must still have room: the first file of its folder is near.
        self.site, self.room = "config.json" if site == "model.safetensors" else site, room
        if site == "tensors.safetensors":
            self._limit(room)
        try:
            yield
        finally:
            self.site = ""
            self._limit(self._limits[0])


def _run(path: Path) -> int:
    """Runs the command's own function on a folder; returns its exit code, 2 where the disk was full."""
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            if (path / "config.json").is_file():
                return resume_training(path, {})
            return run_training(RunConfig.from_flat(SMALL), path)
        except (InputError, OSError) as error:
            return 2 if str(error).startswith("Expected ") and str(error).isprintable() else 3
        finally:
            gc.collect()  # a command leaves it to the end of the process to unlock its folder


def _interrupt(path: Path) -> None:
    """Makes a run that was stopped with Ctrl-C: it has every artefact once, for the disk to spoil."""

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "training" and done >= _HALFWAY:
            raise KeyboardInterrupt

    assert go(path, progress).exit_code == 130


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
        _interrupt(root / "begun")
        old = contents(root / "begun")
        told, intact, equal, disk = [], [], [], _Disk()
        for number, (site, room) in enumerate(_SITES.items()):
            path = root / f"run-{number}"
            if site != "config.json":  # which is written once, before all
                shutil.copytree(root / "begun", path)
            with disk.full(site, room):
                told.append(_run(path) == 2)
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
