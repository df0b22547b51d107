"""What a run has cost: wall time and judge calls, in `timing.jsonl`. Nothing random or learned depends on it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from persona_env.runs.run_folder import RunFolder

__all__ = ["CostLog"]

_FILE = "timing.jsonl"


class CostLog:
    """Adds a line for each rollout and stage; the lines of earlier processes of the same run count too.

    A line that `book` adds has no stage: it counts judge calls while a stage is still running.

    Args:
        folder: The run's.
        usage: Returns what this process has asked of the judge so far, by name.
    """

    def __init__(self, folder: RunFolder, usage: Callable[[], Mapping[str, int]] = dict):
        self._folder, self._usage = folder, usage
        folder.cut(_FILE)
        self._rows = folder.read_lines(_FILE)
        self._last, self._used = time.perf_counter(), Counter(usage())

    def note(self, stage: str, **more: Any) -> None:
        """Adds the time and judge calls since the last note to a stage."""
        now = time.perf_counter()
        row = {"stage": stage, "seconds": round(now - self._last, 4), **more, **self._asked()}
        self._last = now
        self._add(row)

    def book(self) -> None:
        """Adds the judge calls since the last line, so that a kill loses few of them."""
        if asked := self._asked():
            self._add(asked)

    def _asked(self) -> dict[str, Any]:
        used = Counter(self._usage())
        asked, self._used = used - self._used, used
        return {"judge": dict(asked)} if asked else {}

    def _add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        self._folder.append_line(_FILE, row)

    @property
    def seconds(self) -> dict[str, float]:
        """Wall time by stage."""
        found: dict[str, float] = {}
        for row in self._rows:
            if "stage" in row:
                found[row["stage"]] = found.get(row["stage"], 0.0) + row["seconds"]
        return found

    def total(self, name: str) -> int:
        """Returns how much of something the judge has used so far."""
        return sum(row.get("judge", {}).get(name, 0) for row in self._rows)
