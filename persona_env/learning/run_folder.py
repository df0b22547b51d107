"""What a run leaves on disk: plain files, each written whole under another name and then renamed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["RunFolder"]


class RunFolder:
    """The folder of one run: `config.json`, `model/`, `metrics.jsonl`, `dialogues.jsonl`, `summary.json`.

    Args:
        path: Where; made if it is not there. It must be empty.

    Raises:
        ValueError: If the folder holds files already or cannot be written.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"Expected a folder for the run, got the file {path}: give another --out.")
        if self.path.is_dir() and any(self.path.iterdir()):
            raise ValueError(f"Expected an empty folder for the run, got {path} with files in it: give another --out.")

    def create(self) -> RunFolder:
        """Makes the folder and tries to write in it.

        Raises:
            ValueError: If that fails; nothing is left behind.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe = self.path / ".writable"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise ValueError(
                f"Expected a folder that can be written, got {self.path} ({error.strerror}): give another --out."
            ) from None
        return self

    def write_json(self, name: str, value: Mapping[str, Any]) -> Path:
        """Writes a JSON file whole."""
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
        return self.write_text(name, text + "\n")

    def write_text(self, name: str, text: str) -> Path:
        """Writes a text file whole."""
        target, draft = self.path / name, self.path / f".{name}.tmp"
        with open(draft, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
        return target

    def append_line(self, name: str, row: Mapping[str, Any]) -> None:
        """Adds one line to a JSONL file; each line is written in one piece."""
        line = json.dumps(row, ensure_ascii=True, allow_nan=False) + "\n"
        with open(self.path / name, "a", encoding="utf-8") as file:
            file.write(line)

    def write_folder(self, name: str, fill: Callable[[Path], None]) -> Path:
        """Lets `fill` write a folder whole: under another name first, then renamed."""
        target, draft = self.path / name, self.path / f".{name}.tmp"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        fill(draft)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(draft, target)
        return target
