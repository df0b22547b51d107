"""The reliability table: each demand with the figure that was achieved.

Run: python -m tests.reliability [R1 R2 ...]      (all of them: within 10 minutes on two cores; exit code 1: missed)
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.reliability.demands import DEMANDS


def main(asked: Sequence[str]) -> int:
    for path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        importlib.import_module(f"tests.reliability.{path.stem}")
    table = Table("id", "what", "demand", "achieved", "s", "", title="Reliability")
    missed, console = 0, Console()
    for row in sorted(DEMANDS, key=lambda row: int(row.id[1:])):
        if asked and row.id not in asked:
            continue
        console.print(f"{row.id} ...", style="dim")
        begin = time.perf_counter()
        try:
            met, achieved = row.measure()
        except Exception as error:
            met, achieved = False, f"{type(error).__name__}: {error}"
        missed += not met
        seconds = f"{time.perf_counter() - begin:.0f}"
        table.add_row(*row[:3], escape(achieved), seconds, "met" if met else "MISSED")
    console.print(table)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
