"""What a run leaves on disk: plain files, each written whole under another name, made durable and then renamed."""

from __future__ import annotations

from persona_env.errors import InputError

import contextlib
import json
import os
import shutil
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from persona_env.errors import printable
from persona_env.io.strict_json import open_draft, unseen_escaped

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
        ValueError: If the folder is not as it must be. A link in the folder of a run that goes on is refused: what
            it points to is no part of the run.
    """

    def __init__(self, path: str | Path, *, resume: bool = False):
        self.path, self.resumed = Path(path), resume
        self._unlock: Callable[[], Any] = lambda: None
        shown = printable(str(path))
        try:
            if self.path.exists() and not self.path.is_dir():
                raise InputError(f"Expected a folder for the run, got the file {shown}: give another --out.")
            _check_name(self.path)
            if resume:
                self._check_begun(shown)
            elif self.path.is_dir() and any(not _is_draft(found.name) for found in self.path.iterdir()):
                way_out = f" or go on with --resume {shown}" if (self.path / CONFIG).is_file() else ""
                raise InputError(
                    f"Expected an empty folder for the run, got {shown} with files in it: give another --out{way_out}."
                )
        except OSError as error:
            raise InputError(
                f"Expected a folder that can be read, got {shown} ({error.strerror}): give another --out."
            ) from None

    def _check_begun(self, shown: str) -> None:
        if not (self.path / CONFIG).is_file():
            raise InputError(
                f"Expected a run folder with a {CONFIG}, got {shown} without one: name a run that has begun."
            )
        for found in self.path.rglob("*"):
            if found.is_symlink() and not _is_draft(found.name):
                raise InputError(
                    f"Expected a run folder of plain files, got the link {found.name!a} in {shown}: put the file there."
                )

    def create(self) -> RunFolder:
        """Makes the folder, locks it for this process, tries to write in it, and clears half-written drafts away.

        Raises:
            ValueError: If that fails, or another process has it; nothing is left behind.
        """
        missing = [path for path in (self.path, *self.path.parents) if not os.path.lexists(path)]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock()
            open_draft(self.path / ".writable.tmp").close()
            for folder in (self.path, self.path / "checkpoints"):
                for draft in filter(lambda found: _is_draft(found.name), folder.iterdir() if folder.is_dir() else ()):
                    _remove(draft)
        except OSError as error:
            self.close()
            for path in missing:  # the deepest first; what is not empty stays
                with contextlib.suppress(OSError):
                    path.rmdir()
            shown = printable(str(self.path))
            raise InputError(
                f"Expected a folder that can be written, got {shown} ({error.strerror}): give another --out."
            ) from None
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
            raise InputError(
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
        place = printable(str(self.path / name))
        try:
            found = json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            why = printable(str(error))[:120]
            raise InputError(f"Expected JSON at {place}, got {why}: give a whole run folder.") from None
        if not isinstance(found, dict):
            raise InputError(f"Expected an object at {place}, got other JSON: give a whole run folder.")
        return found

    def write_json(self, name: str, value: Mapping[str, Any]) -> Path:
        """Writes a JSON file whole."""
        text = unseen_escaped(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))
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
                with open_draft(draft) as file:
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
        """Returns the whole lines of a JSONL file, none where there is no file.

        Raises:
            ValueError: If one is no JSON object.
        """
        path = self.path / name
        text = path.read_bytes() if path.is_file() else b""
        return [
            _row(line, path, number) for number, line in enumerate(text[: text.rfind(b"\n") + 1].split(b"\n")[:-1], 1)
        ]

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


def _check_name(path: Path) -> None:
    try:
        if b"\x00" not in os.fsencode(path):
            return
    except UnicodeEncodeError:
        pass
    raise InputError(f"Expected a folder for the run, got {str(path)!a:.80}: give a name that a folder can have.")


def _row(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        place = f"{printable(str(path))} line {number}"
        raise InputError(f"Expected a JSON object at {place}, got something else: give a whole run folder.")
    return found


def _remove(draft: Path) -> None:
    """Removes a draft; where it is a link, not what it points to."""
    shutil.rmtree(draft) if draft.is_dir() and not draft.is_symlink() else draft.unlink()


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
