"""Does credit across lines matter? The same job with `line_gamma` 0 and above, paid for line-to-line only.

What a simulator improvises it must stand by: the line in which it does so is blameless, the later ones are
not. Only a discount above 0 lets the early line pay for the late ones. Dialogues of 16 lines, so that there
are later ones; measured over these and over 48.

Run: python -m tests.benchmarks.credit_across_lines [--out runs/credit] [--jobs 1] [--seeds 0 1 2 3 4]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.benchmarks.runs import Run, percent, run_all

GAMMAS = ("0", "0.9")
SETTING = ("--lines", "16", "--tokens", "122880", "--rewards", "line_to_line=1,relevance=0.5")


def main() -> None:
    """Runs what is missing and prints one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/credit"))
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2, 3, 4))
    parser.add_argument("--role", default="patient")
    options, more = parser.parse_known_args()
    common = ("--role", options.role, *SETTING, *more)
    print("| line_gamma | against its own words, 16 lines | 48 lines | against its persona | relevance | hedging |")
    print("|---|---|---|---|---|---|")
    for gamma in GAMMAS:
        runs = [
            Run(f"gamma{gamma}-seed{seed}", (*common, "--line-gamma", gamma, "--seed", str(seed)))
            for seed in options.seeds
        ]
        found = run_all(options.out, runs, options.jobs)
        cells = [
            percent(1 - s["after"]["line_to_line"]["value"] for s in found),
            percent(1 - s["longer"]["after"]["line_to_line"]["value"] for s in found),
            percent(1 - s["after"]["prompt_to_line"]["value"] for s in found),
            percent(s["after"]["relevance"]["value"] for s in found),
            percent(s["after"]["hedging"]["value"] for s in found),
        ]
        print(f"| {gamma} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
