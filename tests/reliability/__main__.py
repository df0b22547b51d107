"""The reliability table: each demand with the figure that was achieved.

Run: python -m tests.reliability [R1 R2 ...]      (all of them: within 10 minutes on two cores)

Every row is a file `rNN_name.py` here with a function `measure`. The exit code is 1 if a row is missed.
"""

from __future__ import annotations

import importlib
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.reliability.rows import Row

_FILE = re.compile(r"r(\d\d)_\w+")


def measurements(asked: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields id and module of each measurement, in order."""
    for path in sorted(Path(__file__).parent.glob("r*.py")):
        if match := _FILE.fullmatch(path.stem):
            name = f"R{int(match.group(1))}"
            if not asked or name in asked:
                yield name, f"tests.reliability.{path.stem}"


def measured(module: str) -> list[Row]:
    """Returns the rows of a measurement; one that ends in an error is missed."""
    try:
        return importlib.import_module(module).measure()
    except Exception as error:
        return [Row(module.rpartition(".")[2], "", "", f"{type(error).__name__}: {error}", met=False)]


def main() -> int:
    """Measures, prints the table, and returns the exit code."""
    table = Table("id", "what", "demand", "achieved", "s", "", title="Reliability")
    missed, console = 0, Console()
    for name, module in measurements(sys.argv[1:]):
        begin = time.perf_counter()
        console.print(f"{name} ...", style="dim")
        rows = measured(module)
        seconds = f"{time.perf_counter() - begin:.0f}"
        for row in rows:
            missed += not row.met
            table.add_row(row.id, row.what, row.demand, row.achieved, seconds, "met" if row.met else "MISSED")
            seconds = ""
    console.print(table)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
