"""What a run leaves on disk: plain files, each written whole under another name, made durable and then renamed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

try:
    import fcntl
except ImportError:  # not on Windows, where nothing keeps two processes apart
    fcntl = None

__all__ = ["CannotWrite", "RunFolder"]

CONFIG = "config.json"


class CannotWrite(OSError):  # noqa: N818 - reads better where it is caught
    """A file of the run could not be written; what stood there before stands there still."""

    def __init__(self, path: Path, why: str, folder: Path):
        super().__init__(
            f"Expected room for {path}, got {why}: make room, then go on with persona-env train --resume {folder}."
        )


class RunFolder:
    """The folder of one run: `config.json`, `model/`, `checkpoints/`, `metrics.jsonl`, `dialogues.jsonl`, ...

    Args:
        path: Where; made if it is not there. A new run's must be empty, a resumed run's holds a `config.json`.
        resume: Whether a run goes on there.

    Raises:
        ValueError: If the folder is not as it must be.
    """

    def __init__(self, path: str | Path, *, resume: bool = False):
        self.path, self.resumed = Path(path), resume
        self._unlock: Callable[[], Any] = lambda: None
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"Expected a folder for the run, got the file {path}: give another --out.")
        if resume and not (self.path / CONFIG).is_file():
            raise ValueError(
                f"Expected a run folder with a {CONFIG}, got {path} without one: name a run that has begun."
            )
        if not resume and self.path.is_dir() and any(not _is_draft(found.name) for found in self.path.iterdir()):
            way_out = f" or go on with --resume {path}" if (self.path / CONFIG).is_file() else ""
            raise ValueError(
                f"Expected an empty folder for the run, got {path} with files in it: give another --out{way_out}."
            )

    def create(self) -> RunFolder:
        """Makes the folder, locks it for this process, tries to write in it, and clears half-written drafts away.

        Raises:
            ValueError: If that fails, or another process has it; nothing is left behind.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock()
            probe = self.path / ".writable.tmp"
            probe.touch()
        except OSError as error:
            raise ValueError(
                f"Expected a folder that can be written, got {self.path} ({error.strerror}): give another --out."
            ) from None
        for folder in (self.path, self.path / "checkpoints"):
            for draft in filter(lambda found: _is_draft(found.name), folder.iterdir() if folder.is_dir() else ()):
                shutil.rmtree(draft) if draft.is_dir() else draft.unlink()
        return self

    def _lock(self) -> None:
        """Takes the folder for this process; the system lets go of it when the process ends, however it ends."""
        if fcntl is None:
            return
        handle = os.open(self.path, os.O_RDONLY)
        self._unlock = weakref.finalize(self, os.close, handle)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise ValueError(
                f"Expected {self.path} for this process alone, got another one that runs in it: wait for it or stop it."
            ) from None

    def close(self) -> None:
        """Lets go of the folder."""
        self._unlock()

    def read_json(self, name: str) -> dict[str, Any]:
        """Returns a JSON file of the run.

        Raises:
            ValueError: If it cannot be read.
        """
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ValueError(f"Expected JSON at {self.path / name}, got {error}: give a whole run folder.") from None

    def write_json(self, name: str, value: Mapping[str, Any]) -> Path:
        """Writes a JSON file whole."""
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
        return self.write_text(name, text + "\n")

    def write_text(self, name: str, text: str) -> Path:
        """Writes a text file whole.

        Raises:
            CannotWrite: If there is no room; the old file stays.
        """
        target = self.path / name
        draft = _draft_of(target)
        with self._room_for(target):
            try:
                with open(draft, "w", encoding="utf-8") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(draft, target)
            finally:
                draft.unlink(missing_ok=True)
            _sync(target.parent)
        return target

    def append_line(self, name: str, row: Mapping[str, Any]) -> None:
        """Adds one line to a JSONL file: the whole line or, where there is no room, nothing of it.

        Raises:
            CannotWrite: If there is no room.
        """
        line = (json.dumps(row, ensure_ascii=True, allow_nan=False) + "\n").encode()
        with self._room_for(self.path / name):
            handle = os.open(self.path / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            try:
                size = os.fstat(handle).st_size
                try:
                    written = 0
                    while written < len(line):
                        written += os.write(handle, line[written:])
                except OSError:
                    os.ftruncate(handle, size)
                    raise
                os.fsync(handle)
            finally:
                os.close(handle)

    def read_lines(self, name: str) -> list[dict[str, Any]]:
        """Returns the whole lines of a JSONL file, none where there is no file."""
        path = self.path / name
        text = path.read_bytes() if path.is_file() else b""
        return [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]

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

    def write_folder(self, name: str, fill: Callable[[Path], None]) -> Path:
        """Lets `fill` write a folder whole: under another name first, made durable, then renamed.

        Raises:
            CannotWrite: If there is no room; the old folder stays.
        """
        target = self.path / name
        draft = _draft_of(target)
        with self._room_for(target):
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
            try:
                fill(draft)
                for path in [*draft.rglob("*"), draft]:
                    _sync(path)
                self.drop_folder(name)
                os.replace(draft, target)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
            _sync(target.parent)
        return target

    def drop_folder(self, name: str) -> None:
        """Removes a folder; a kill in the midst of it leaves a draft and no half folder of that name."""
        target = self.path / name
        if target.is_dir():
            aside = target.with_name(f".{target.name}.old.tmp")
            shutil.rmtree(aside, ignore_errors=True)
            os.replace(target, aside)
            shutil.rmtree(aside, ignore_errors=True)

    @contextlib.contextmanager
    def _room_for(self, path: Path) -> Iterator[None]:
        try:
            yield
        except CannotWrite:
            raise
        except (OSError, SafetensorError) as error:
            why = getattr(error, "strerror", None) or " ".join(str(error).split())[:160]
            raise CannotWrite(path, why, self.path) from error


def _draft_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.tmp")


def _is_draft(name: str) -> bool:
    return name.startswith(".") and name.endswith(".tmp")


def _sync(path: Path) -> None:
    """Makes a file, or the names in a folder, durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
