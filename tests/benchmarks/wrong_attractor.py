"""The negative control: from a base that has settled in a wrong persona, line-to-line alone is not enough.

Its contradictions vanish while its lines stay false; the composed reward repairs it.

Run: python -m tests.benchmarks.wrong_attractor [--out runs/attractor] [--jobs 1] [--seeds 0 1 2]
"""

from __future__ import annotations

from tests.benchmarks.runs import DRIFT, Run, base_model, percent, run_all, study

ARMS = {"line-to-line alone": ("--rewards", "line_to_line=1,relevance=0.5"), "the composed reward": ()}


def main() -> None:
    options, more = study(__doc__, "attractor", 3)
    base = base_model(options.out, 0, drift="attractor")
    print("| reward | " + " | ".join(f"{name.replace('_', '-')}, before | after" for name in DRIFT) + " | relevance |")
    print("|---" * (2 + 2 * len(DRIFT)) + "|")
    for arm, rewards in ARMS.items():
        runs = [
            Run(f"{arm.replace(' ', '-')}-seed{seed}", ("--simulator", base, *rewards, "--seed", str(seed), *more))
            for seed in options.seeds
        ]
        found = run_all(options.out, runs, options.jobs)
        cells = [percent(1 - s[when][name]["value"] for s in found) for name in DRIFT for when in ("before", "after")]
        cells.append(percent(s["after"]["relevance"]["value"] for s in found))
        print(f"| {arm} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
