"""Runs of the main job that studies share: made once, kept in a folder, read back."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from persona_env.metrics.statistics import t_interval

TINY = files("persona_env") / "world" / "model"
ROLES = ("patient", "student", "chat_partner")
DRIFT = ("prompt_to_line", "line_to_line", "question_answer")
Summary = Mapping[str, Any]


class Run(NamedTuple):
    """One run of `persona-env train`: a name for its folder, and its arguments."""

    name: str
    arguments: tuple[str, ...]


def study(description: str | None, out: str, seeds: int, *more: str) -> tuple[argparse.Namespace, list[str]]:
    """Returns the options of a study, the folder among them, and the further arguments of its runs."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, default=Path("runs") / out)
    parser.add_argument("--jobs", type=int, default=1, help="Runs at the same time, a core each.")
    parser.add_argument("--seeds", type=int, nargs="+", default=range(seeds))
    for name, values in {"--roles": ROLES, "--bases": (0, 1, 2)}.items():
        if name in more:
            parser.add_argument(name, nargs="+", type=type(values[0]), default=values)
    options, rest = parser.parse_known_args()
    options.out.mkdir(parents=True, exist_ok=True)
    return options, rest


def base_model(folder: Path, seed: int, *, drift: str = "") -> str:
    """Returns the spec of a base model, made if it is not in the folder yet.

    Seed 0 is the one that ships (`tiny`); one with another drift (`FURTHER_PLANS`) goes on from it.
    """
    if seed == 0 and not drift:
        return "tiny"
    path = folder / f"{drift or 'base'}-{seed}"
    if not (path / "model.safetensors").is_file():
        command = [sys.executable, "-m", "persona_env.world.pretrain", "--seed", str(seed), "--out", str(path)]
        command += ["--init", str(TINY), "--drift", drift] if drift else []
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return f"hf:{path}"


def run_all(folder: Path, runs: Sequence[Run], jobs: int) -> list[Summary]:
    """Runs what is not in the folder yet, `jobs` at a time on a core each, and returns all summaries in order."""

    def one(run: Run) -> Summary:
        out = folder / run.name
        if not (out / "summary.json").is_file():
            command = [sys.executable, "-m", "persona_env", "train", "--threads", "1", *run.arguments]
            subprocess.run([*command, "--out", str(out)], check=True, stdout=subprocess.DEVNULL)
        return json.loads((out / "summary.json").read_text(encoding="utf-8"))

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(one, runs))


def percent(values: Iterable[float]) -> str:
    """Returns the mean of independent runs with its 95 % t interval, as text."""
    interval = t_interval([100 * value for value in values])
    return f"{interval.mean:.1f} % ({interval.low:.1f} to {interval.high:.1f})"
