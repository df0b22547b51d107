"""Checkpoints: folders that are there whole or are not used, each with the SHA-256 of its parts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError, safe_open

from persona_env.runs.run_folder import RunFolder

__all__ = ["ROLLOUT", "Checkpoints"]

ROLLOUT = "rollout-"
"""What the names of a learner's checkpoints begin with; the learner's tokens follow."""

_SUMS = "checksums.json"
_KEPT = 2


class Checkpoints:
    """The folder `checkpoints/` of a run.

    Args:
        folder: The run's.

    Attributes:
        damaged: Names of checkpoints that were found not to be as they were written; they are not used.
    """

    def __init__(self, folder: RunFolder):
        self.folder, self.damaged = folder, list[str]()
        self._root = folder.path / "checkpoints"

    def write(self, name: str, fill: Callable[[Path], None]) -> None:
        """Lets `fill` write the parts of a checkpoint; it is there when all of them are durable.

        Raises:
            CannotWrite: If there is no room; older checkpoints stay.
        """

        def whole(draft: Path) -> None:
            fill(draft)
            sums = {path.name: _digest(path) for path in sorted(draft.iterdir())}
            (draft / _SUMS).write_text(json.dumps(sums, indent=2) + "\n", encoding="utf-8")

        self._root.mkdir(exist_ok=True)
        self.folder.write_folder(f"checkpoints/{name}", whole)

    def find(self, name: str) -> Path | None:
        """Returns the folder of a checkpoint, None where there is none or a part is not what was written."""
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

    def prune(self, prefix: str, kept: int = _KEPT) -> None:
        """Drops all but the last few."""
        for name in self._names(prefix)[: -kept or None]:
            self.folder.drop_folder(f"checkpoints/{name}")

    def _names(self, prefix: str) -> list[str]:
        found = self._root.iterdir() if self._root.is_dir() else ()
        return sorted(path.name for path in found if path.name.startswith(prefix))


def _is_whole(path: Path) -> bool:
    try:
        sums = json.loads((path / _SUMS).read_text(encoding="utf-8"))
        parts = {part.name: _digest(part) for part in path.iterdir() if part.name != _SUMS}
        for part in path.glob("*.safetensors"):
            with safe_open(part, "numpy"):
                pass
    except (OSError, ValueError, RecursionError, SafetensorError):
        return False
    return bool(parts) and parts == sums


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
