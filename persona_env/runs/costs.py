"""What a run costs: wall time and judge counts, in `timing.jsonl`; and how many verdicts may be invalid."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from persona_env.errors import RunEnded
from persona_env.runs.config import parse_budget
from persona_env.runs.run_folder import RunFolder

__all__ = ["COSTS", "VERDICT_COUNTS", "CostLog", "TooManyInvalid", "check_invalid", "judge_sentence", "judge_usage"]

COSTS = ("calls", "tokens", "cache_hits", "damaged")
"""Counts that each process of a run adds to; `damaged` replies of a cache were asked for again."""

VERDICT_COUNTS = ("canaries", "canaries_failed", "pairs", "agreed")
"""Counts of verdicts. A resumed run gets them again for what a kill undid, so each stage and rollout counts once.
`pairs` are an ensemble's queries times pairs of members; in those `agreed`, both gave the same verdict."""

_FILE = "timing.jsonl"


class TooManyInvalid(RunEnded):
    """More verdicts than allowed could not be read: the figures say little of the simulator."""

    exit_code = 78


def check_invalid(where: str, most: float, judged: int, invalid: int, *, ended: bool = True) -> None:
    """Raises if more than a share `most` of verdicts is invalid; before the end, of at least 200 verdicts."""
    if invalid > most * (judged if ended else max(judged, 200)):  # a few among the first say little
        raise TooManyInvalid(
            f"Expected at most {100 * most:g} % invalid verdicts in {where}, got {invalid} of {judged}: use another "
            "judge, or allow more with --max-invalid."
        )


class CostLog:
    """Adds a line for each rollout and stage; the lines of earlier processes of the same run count too.

    A line without a stage counts judge calls while a stage is still running. `counts` returns those of this process.
    """

    def __init__(self, folder: RunFolder, counts: Callable[[], Mapping[str, int]] = dict):
        self._folder, self._counts = folder, counts
        self._rows = folder.read_lines(_FILE)
        self._last, self._used = time.perf_counter(), Counter(counts())

    def note(self, stage: str, **more: Any) -> None:
        """Adds the time and judge counts since the last note to a stage."""
        now = time.perf_counter()
        self._add(
            {"stage": stage, "seconds": round(now - self._last, 4), **more, **self._asked(*COSTS, *VERDICT_COUNTS)}
        )
        self._last = now

    def book(self) -> None:
        """Adds the judge calls since the last line, so that a kill loses few of them."""
        if asked := self._asked(*COSTS):
            self._add(asked)

    def _asked(self, *names: str) -> dict[str, Any]:
        counts = self._counts()
        asked = {name: more for name in names if (more := counts.get(name, 0) - self._used[name])}
        self._used.update(asked)
        return {"judge": asked} if asked else {}

    def _add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        self._folder.append_line(_FILE, row)

    @property
    def seconds(self) -> dict[str, float]:
        """Wall time by stage."""
        found = defaultdict[str, float](float)
        for row in self._rows:
            if "stage" in row:
                found[row["stage"]] += row["seconds"]
        return dict(found)

    @property
    def counts(self) -> dict[str, int]:
        """Counts of the judge over all processes, by name."""
        last = {(row.get("stage"), row.get("tokens")): row for row in self._rows}
        rows = dict.fromkeys(COSTS, self._rows) | {name: [*last.values()] for name in VERDICT_COUNTS}
        return {name: sum(row.get("judge", {}).get(name, 0) for row in some) for name, some in rows.items()}


def judge_usage(counts: Mapping[str, int], budget: str = "", invalid: int = 0) -> dict[str, Any]:
    """Returns what `summary.json` says of the judge: counts, an ensemble's agreement in [0, 1], and the budget."""
    found = {name: counts.get(name, 0) for name in (*COSTS, *VERDICT_COUNTS)}
    agreement = found["agreed"] / found["pairs"] if found["pairs"] else None
    return {**found, "agreement": agreement, "budget": parse_budget(budget), "invalid": invalid}


def judge_sentence(usage: Mapping[str, Any]) -> str:
    """Returns in words what `judge_usage` gave.

    >>> judge_sentence(judge_usage({"calls": 70, "tokens": 9000, "canaries": 4}, "calls=100", invalid=2))
    'Judge: 70 of 100 calls, 9,000 tokens; 0 replies from the cache, 2 invalid verdicts; 0 of 4 canaries failed.'
    """
    limits = {name: f" of {most:,}" for name, most in usage["budget"].items()}
    used = (f"{usage[name]:,}{limits.get(name, '')} {name}" for name in ("calls", "tokens"))
    parts = [f"Judge: {', '.join(used)}"]
    parts.append(f"{usage['cache_hits']:,} replies from the cache, {usage['invalid']:,} invalid verdicts")
    if usage["canaries"]:
        parts.append(f"{usage['canaries_failed']:,} of {usage['canaries']:,} canaries failed")
    if usage["agreement"] is not None:
        parts.append(f"its members agreed in {usage['agreement']:.0%} of {usage['pairs']:,} pairs")
    if usage["damaged"]:
        parts.append(f"{usage['damaged']:,} damaged replies asked for again")
    return "; ".join(parts) + "."
