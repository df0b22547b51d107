"""Checkpoints: folders that are there whole or are not used, each with the SHA-256 of its files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from persona_env.io.atomic import write_json
from persona_env.io.json_files import FileError, read_json
from persona_env.runs.run_folder import RunFolder

__all__ = ["Checkpoints"]

_SUMS = "checksums.json"


class Checkpoints:
    """The folder `checkpoints/` of a run: `rollout-<tokens>`, each the learner's state after so many tokens."""

    def __init__(self, folder: RunFolder):
        self.folder = folder
        self.damaged = list[str]()  # names of those that are not as they were written; they are not used

    def write(self, tokens: int, fill: Callable[[Path], None]) -> None:
        """Lets `fill` write the files of a checkpoint, and removes all but the last two."""

        def fill_and_sum(draft: Path) -> None:
            fill(draft)
            write_json(draft / _SUMS, _sums(draft))

        self.folder.write_folder(f"checkpoints/rollout-{tokens:012d}", fill_and_sum)
        self.prune(keep=2)

    def newest(self) -> Path | None:
        """Returns the folder of the last whole checkpoint, None if there is none."""
        return next(filter(self.is_whole, reversed(self._all())), None)

    def is_whole(self, checkpoint: Path) -> bool:
        """Returns whether each file of a checkpoint is as it was written."""
        try:
            if (found := _sums(checkpoint)) and found == read_json(checkpoint / _SUMS, dict[str, str]):
                return True
        except (FileError, OSError):
            pass
        self.damaged.append(checkpoint.name)
        return False

    def prune(self, keep: int) -> None:
        """Removes all but the last few."""
        found = self._all()
        for checkpoint in found[: len(found) - keep]:
            self.folder.drop_folder(f"checkpoints/{checkpoint.name}")

    def _all(self) -> list[Path]:
        return sorted((self.folder.path / "checkpoints").glob("rollout-*"))


def _sums(folder: Path) -> dict[str, str]:
    sums = dict[str, str]()
    for path in sorted(folder.iterdir()):
        if path.name != _SUMS:
            with open(path, "rb") as file:
                sums[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return sums
