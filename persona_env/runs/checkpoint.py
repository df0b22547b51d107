"""Checkpoints: folders that are there whole or are not used, each with the SHA-256 of its files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from persona_env.io.atomic import write_json
from persona_env.io.json_files import FileError, read_json
from persona_env.runs.run_folder import RunFolder

__all__ = ["ROLLOUT", "Checkpoints"]

ROLLOUT = "rollout-"
"""What the names of a learner's checkpoints begin with; the learner's tokens follow."""

_SUMS = "checksums.json"


class Checkpoints:
    """The folder `checkpoints/` of a run.

    Args:
        folder: The run's.

    Attributes:
        damaged: Names of checkpoints that are not as they were written; they are not used.
    """

    def __init__(self, folder: RunFolder):
        self.folder, self.damaged = folder, list[str]()
        self._root = folder.path / "checkpoints"

    def write(self, name: str, fill: Callable[[Path], None]) -> None:
        """Lets `fill` write the files of a checkpoint; it is there when all of them are.

        Raises:
            CannotWrite: If there is no room; older checkpoints stay.
        """

        def fill_and_sum(draft: Path) -> None:
            fill(draft)
            write_json(draft / _SUMS, _sums(draft))

        self.folder.write_folder(f"checkpoints/{name}", fill_and_sum)

    def find(self, name: str) -> Path | None:
        """Returns the folder of a checkpoint, None where there is none or a file is not what was written."""
        path = self._root / name
        if not path.is_dir():
            return None
        if not _is_whole(path):
            self.damaged.append(name)
            return None
        return path

    def newest(self, prefix: str) -> Path | None:
        """Returns the last whole checkpoint of those whose names begin so, by the order of names."""
        return next(filter(None, map(self.find, reversed(self._names(prefix)))), None)

    def prune(self, prefix: str, keep: int = 2) -> None:
        """Removes all but the last few."""
        names = self._names(prefix)
        for name in names[: len(names) - keep]:
            self.folder.drop_folder(f"checkpoints/{name}")

    def _names(self, prefix: str) -> list[str]:
        return sorted(path.name for path in self._root.glob(f"{prefix}*"))


def _is_whole(path: Path) -> bool:
    try:
        return bool(found := _sums(path)) and found == read_json(path / _SUMS, dict[str, str])
    except (FileError, OSError):
        return False


def _sums(folder: Path) -> dict[str, str]:
    return {path.name: _digest(path) for path in sorted(folder.iterdir()) if path.name != _SUMS}


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
