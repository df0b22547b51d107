"""Does credit across lines matter? The same job with `line_gamma` 0 and above, paid for line-to-line only.

From a base that opens recklessly (it leaves its role or makes something up in the first line) and is in character
ever after: only later lines conflict with the first, and only a discount above 0 lets it pay for them.

Run: python -m tests.benchmarks.credit_across_lines [--out runs/credit] [--jobs 1] [--seeds 0 1 2 3]
"""

from __future__ import annotations

from tests.benchmarks.runs import Run, base_model, percent, run_all, study

GAMMAS = ("0", "0.9")
SETTING = ("--tokens", "81920", "--rewards", "line_to_line=1,relevance=0.5")


def main() -> None:
    options, more = study(__doc__, "credit", 4)
    base = base_model(options.out, 0, drift="reckless-opening")
    common = ("--simulator", base, *SETTING, *more)
    print("| line_gamma | line-to-line drift, 8 lines | 24 lines | prompt-to-line drift | relevance | hedging |")
    print("|---|---|---|---|---|---|")
    for gamma in GAMMAS:
        runs = [
            Run(f"gamma{gamma}-seed{seed}", (*common, "--line-gamma", gamma, "--seed", str(seed)))
            for seed in options.seeds
        ]
        found = run_all(options.out, runs, options.jobs)
        cells = [percent(1 - s["after"]["line_to_line"]["value"] for s in found)]
        cells.append(percent(1 - s["extended"]["after"]["line_to_line"]["value"] for s in found))
        cells.append(percent(1 - s["after"]["prompt_to_line"]["value"] for s in found))
        cells += [percent(s["after"][name]["value"] for s in found) for name in ("relevance", "hedging")]
        print(f"| {gamma} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
