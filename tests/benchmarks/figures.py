"""The README's figures: the main job for each role, three seeds of learning, three base models.

Run: python -m tests.benchmarks.figures [--out runs/figures] [--jobs 2]

Base 0 ships; bases 1 and 2 are made first (minutes each). Runs that are there are not repeated. Prints Markdown.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.benchmarks.runs import DRIFT, Run, base_model, run_all, study

Summary = Mapping[str, Any]


def spread(values: Iterable[float], unit: str = " %", scale: float = 100) -> str:
    """Returns the mean, and the smallest and largest, as text."""
    numbers = [scale * value for value in values]
    return f"{statistics.mean(numbers):.1f}{unit} ({min(numbers):.1f} to {max(numbers):.1f})"


def drift_rows(role: str, runs: Sequence[Summary]) -> list[str]:
    """Rows of the drift table: reductions at the trained length and at three times that length."""
    rows = []
    for name in DRIFT:
        cells = [role, name.replace("_", "-")]
        for arm in (lambda s: s, lambda s: s["extended"]):
            cells.append(spread(1 - arm(s)["before"][name]["value"] for s in runs))
            cells.append(spread(1 - arm(s)["after"][name]["value"] for s in runs))
            cells.append(spread(-arm(s)["reduction"][name]["value"] for s in runs))
        gaps = [gap for s in runs if (gap := s["generalisation_gap"][name]) is not None]
        cells.append(spread(gaps or [float("nan")], " x", 1))
        rows.append("| " + " | ".join(cells) + " |")
    return rows


def guard_row(role: str, runs: Sequence[Summary]) -> str:
    """A row of the guard table: after training, and against the drift-free speaker where that is the measure."""

    def after(name: str) -> list[float]:
        return [s["after"][name]["value"] for s in runs]

    def against(name: str, bad: bool = False) -> list[float]:
        pairs = ((s["after"][name]["value"], s["drift_free"][name]["value"]) for s in runs)
        return [(1 - a) / (1 - z) if bad else a / z for a, z in pairs]

    cells = [role, spread(after("relevance")), spread(1 - value for value in after("copying"))]
    cells.append(str(sum(s["after"][name]["invalid"] for s in runs for name in s["after"])))
    for name in ("repetition", "hedging", "volunteering", "line_words"):
        cells.append(spread(against(name, bad=name == "repetition"), " x", 1))
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    options, more = study(__doc__, "figures", 3, "--roles", "--bases")
    bases = {number: base_model(options.out, number) for number in options.bases}
    grid = list(itertools.product(options.roles, bases, options.seeds))
    runs = [
        Run(f"{role}-base{base}-seed{seed}", ("--role", role, "--simulator", bases[base], "--seed", str(seed), *more))
        for role, base, seed in grid
    ]
    found = run_all(options.out, runs, options.jobs)
    by_role = {role: [s for (r, _, _), s in zip(grid, found, strict=True) if r == role] for role in options.roles}
    print(f"{len(found)} runs; mean (smallest to largest).\n")
    print("| role | drift | before, 8 lines | after | change | before, 24 lines | after | change | gap |")
    print("|---|---|---|---|---|---|---|---|---|")
    print("\n".join(row for role, runs in by_role.items() for row in drift_rows(role, runs)))
    print("\n| role | relevance | copying | invalid | repetition | hedging | volunteering | words a line |")
    print("|---|---|---|---|---|---|---|---|")
    print("\n".join(guard_row(role, runs) for role, runs in by_role.items()))


if __name__ == "__main__":
    main()
