"""What a run leaves on disk: plain files and folders, each written whole under another name and then renamed."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from os.path import expanduser
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from persona_env.errors import CannotWrite, InputError, RunEnded
from persona_env.io import atomic
from persona_env.io.json_files import json_lines, read_json

__all__ = ["CONFIG", "RunFolder"]

CONFIG = "config.json"
_LOCK = ".lock.tmp"


class RunFolder:
    """The folder of one run: `config.json`, `model/`, `checkpoints/`, `metrics.jsonl`, `eval.jsonl`, ...

    A new run's must be empty, a resumed run's holds a `config.json`. As a context manager it is unlocked at the end,
    and tells what ends it early the `way_on`: how the user goes on with the run, empty where it cannot be resumed.

    Raises:
        InputError: If the folder is not as it must be.
    """

    def __init__(self, path: str | Path, *, resume: bool = False, way_on: str = ""):
        self.path, self.resumed, self.way_on = Path(expanduser(path)), resume, way_on
        self._unlock: Callable[[], object] = lambda: None
        has_config = os.path.isfile(self.path / CONFIG)
        if os.path.lexists(self.path) and not os.path.isdir(self.path):
            raise InputError(f"Expected a folder for the run, got the file {path}: give another --out.")
        if resume and not has_config:
            raise InputError(
                f"Expected a run folder with a {CONFIG}, got {path} without one: name a run that has begun."
            )
        if not resume and os.path.isdir(self.path) and not all(found.match(".*.tmp") for found in self.path.iterdir()):
            way_out = f" or continue it with --resume {path}" if has_config else ""
            raise InputError(
                f"Expected an empty folder for the run, got {path} with files in it: give another --out{way_out}."
            )

    def create(self) -> RunFolder:
        """Makes the folder, locks it for this process, checks that it can be written, and removes unfinished drafts."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock()
            (self.path / ".writable.tmp").touch()
            for draft in (*self.path.glob(".*.tmp"), *self.path.glob("checkpoints/.*.tmp")):
                if draft.is_dir() and not draft.is_symlink():
                    shutil.rmtree(draft)
                elif draft.name != _LOCK:
                    draft.unlink()
        except OSError as error:
            self.close()
            raise InputError(
                f"Expected a folder that can be written, got {self.path} ({error.strerror}): give another --out."
            ) from None
        return self

    def _lock(self) -> None:
        """Locks the folder for this process; the system unlocks it when the process ends, however it ends."""
        if sys.platform == "win32":  # where a folder cannot be opened
            handle = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT)
        else:
            handle = os.open(self.path, os.O_RDONLY)
        self._unlock = weakref.finalize(self, os.close, handle)
        try:
            if sys.platform == "win32":
                import msvcrt

                msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.close()
            raise InputError(
                f"Expected {self.path} for this process alone, got another one that runs in it: wait for it or stop it."
            ) from None

    def close(self) -> None:
        """Unlocks the folder."""
        self._unlock()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.close()
        if self.way_on and (self.path / CONFIG).is_file():
            if isinstance(error, KeyboardInterrupt | MemoryError):
                error.args = (f"go on with: {self.way_on}",)
            elif isinstance(error, RunEnded):
                error.args = (f"{error} Go on with: {self.way_on}",)

    def read_json(self, name: str) -> dict[str, Any]:
        """Returns a JSON file of the run; one that holds no object raises FileError."""
        return read_json(self.path / name, dict[str, Any])

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Writes a JSON file whole; where there is no room it raises CannotWrite, and the old file stays."""
        with self.writing(name):
            atomic.write_json(self.path / name, value)

    def append_line(self, name: str, row: Mapping[str, Any]) -> None:
        """Adds one line to a JSONL file: the whole line or, where there is no room (CannotWrite), nothing of it."""
        line, size = atomic.json_line(row), self.size(name)
        with self.writing(name):
            try:
                with open(self.path / name, "a", encoding="utf-8", newline="\n") as file:
                    file.write(f"{line}\n")
            except OSError:
                self.cut(name, size)
                raise

    def read_lines(self, name: str) -> list[dict[str, Any]]:
        """Returns the lines of a JSONL file, none where there is no file; a half-written last one is cut away first."""
        self.cut(name)
        return [row for _, row in json_lines(self.path / name, dict[str, Any])] if self.size(name) else []

    def size(self, name: str) -> int:
        """Returns the bytes of a file, 0 where there is none."""
        path = self.path / name
        return path.stat().st_size if path.is_file() else 0

    def cut(self, name: str, size: int | None = None) -> None:
        """Cuts a JSONL file back to a size (None: to its last whole line); a kill may have left more."""
        path = self.path / name
        if not path.is_file():
            return
        if size is None:
            size = path.read_bytes().rfind(b"\n") + 1
        if size == 0:
            path.unlink()
        elif path.stat().st_size > size:
            os.truncate(path, size)

    def write_folder(self, name: str, fill: Callable[[Path], None]) -> None:
        """Lets `fill` write a folder, then renames it; where there is no room (CannotWrite), the old one stays."""
        target = self.path / name
        draft = target.with_name(f".{target.name}.tmp")
        with self.writing(name):
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
            try:
                fill(draft)
                self.drop_folder(name)
                os.replace(draft, target)
            finally:
                shutil.rmtree(draft, ignore_errors=True)

    def drop_folder(self, name: str) -> None:
        """Removes a folder; a kill while it does leaves a draft and no half folder of that name."""
        target = self.path / name
        if target.is_dir():
            old = target.with_name(f".{target.name}.old.tmp")
            shutil.rmtree(old, ignore_errors=True)
            os.replace(target, old)
            shutil.rmtree(old, ignore_errors=True)

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[None]:
        """Turns what fails inside it while a file is written into a `CannotWrite` that says how to go on."""
        try:
            yield
        except (OSError, SafetensorError) as error:
            why = error.why if isinstance(error, CannotWrite) else error.args[-1]
            way_out = f"make room, then continue with {self.way_on}" if self.way_on else "make room, or name another"
            raise CannotWrite(self.path / name, why, way_out) from error
