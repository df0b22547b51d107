"""What a run costs: wall time and judge counts, in `timing.jsonl`; and how sound its verdicts must be."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from persona_env.errors import JudgeUnreliable, shown_spec
from persona_env.evaluation.eval_log import JudgeInfo
from persona_env.judges.base import VerdictCounts
from persona_env.runs.config import parse_budget
from persona_env.runs.run_folder import RunFolder

__all__ = [
    "COSTS",
    "VERDICT_COUNTS",
    "CostLog",
    "TooManyInvalid",
    "check_invalid",
    "judge_remarks",
    "judge_sentence",
    "judge_usage",
]

COSTS = ("calls", "tokens", "cache_hits", "damaged")
"""Counts that each process of a run adds to; `damaged` replies of a cache were asked for again."""

VERDICT_COUNTS = ("canaries", "canaries_failed", "pairs", "agreed")
"""Counts of verdicts. A resumed run gets them again for what a kill undid, so each stage and rollout counts once.
`pairs` are an ensemble's queries times pairs of members; in those `agreed`, both gave the same verdict."""

_FILE = "timing.jsonl"


_FEW, _VERY_FEW = 200, 20  # verdicts, among which some invalid ones, or half undecided ones, say little
_MOST_UNSOUND = 0.5
_NO_VERDICTS = VerdictCounts()


class TooManyInvalid(JudgeUnreliable):
    """More verdicts than allowed are not sound: the figures say little of the simulator."""

    exit_code = 78


def check_invalid(where: str, most: float, counts: VerdictCounts, *, ended: bool = True) -> None:
    """Raises TooManyInvalid unless the verdicts that a judge was asked for are sound.

    At most a share `most` of these may be invalid, at most half (or `most`, if that is more) invalid or undecided, and
    one must decide. Before the end, as many may be invalid as in 200 verdicts, and undecided as in 20.
    """
    few, very_few = (counts.asked,) * 2 if ended else (max(counts.asked, _FEW), max(counts.asked, _VERY_FEW))
    unsound, limit = counts.invalid + counts.undecided, max(most, _MOST_UNSOUND)
    if counts.invalid > most * few:
        wrong = f"at most {100 * most:g} % invalid verdicts in {where}, got {counts.invalid}"
    elif unsound > limit * very_few:
        wrong = f"at most {100 * limit:g} % undecided or invalid verdicts in {where}, got {unsound}"
    elif counts.asked and unsound == very_few:
        wrong = f"verdicts that decide in {where}, got none"
    else:
        return
    raise TooManyInvalid(
        f"Expected {wrong} of {counts.asked}: mend the judge or its server and go on, use another judge, or allow more "
        "with --max-invalid."
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


def judge_usage(counts: Mapping[str, int], budget: str = "", verdicts: VerdictCounts = _NO_VERDICTS) -> dict[str, Any]:
    """Returns what `summary.json` says of the judge: counts, an ensemble's agreement in [0, 1], and the budget."""
    found = {name: counts.get(name, 0) for name in (*COSTS, *VERDICT_COUNTS)}
    agreement = found["agreed"] / found["pairs"] if found["pairs"] else None
    unsound = {"invalid": verdicts.invalid, "undecided": verdicts.undecided}
    return {**found, "agreement": agreement, "budget": parse_budget(budget), "asked": verdicts.asked, **unsound}


def judge_sentence(usage: Mapping[str, Any]) -> str:
    """Returns in words what `judge_usage` gave.

    >>> judge_sentence(judge_usage({"calls": 70, "tokens": 9000}, "calls=100", VerdictCounts(30, 3, 2, 35)))
    'Judge: 70 of 100 calls, 9,000 tokens; 0 replies from the cache; of 35 verdicts 2 invalid, 3 undecided.'
    """
    limits = {name: f" of {most:,}" for name, most in usage["budget"].items()}
    used = (f"{usage[name]:,}{limits.get(name, '')} {name}" for name in ("calls", "tokens"))
    parts = [f"Judge: {', '.join(used)}"]
    parts.append(f"{usage['cache_hits']:,} replies from the cache")
    unsound = f"{usage['invalid']:,} invalid, {usage['undecided']:,} undecided"
    parts.append(f"of {usage['asked']:,} verdicts {unsound}")
    if usage["canaries"]:
        parts.append(f"{usage['canaries_failed']:,} of {usage['canaries']:,} canaries failed")
    if usage["agreement"] is not None:
        parts.append(f"its members agreed in {usage['agreement']:.0%} of {usage['pairs']:,} pairs")
    if usage["damaged"]:
        parts.append(f"{usage['damaged']:,} damaged replies asked for again")
    return "; ".join(parts) + "."


def judge_remarks(judge: JudgeInfo, usage: Mapping[str, Any]) -> list[str]:
    """Returns what is to be said of a judge beside its figures: what it cost, and why it may not be trusted.

    >>> judge_remarks(JudgeInfo("match", canaries="not needed", is_calibrated=True), judge_usage({}))
    []
    """
    remarks = [] if judge.canaries == "not needed" else [judge_sentence(usage)]
    if judge.canaries == "none":
        remarks.append("Canaries: none, as the personas state no facts with wrong answers.")
    if not judge.is_calibrated:
        remarks.append(
            f"The judge {shown_spec(judge.spec)} is not calibrated: nobody knows what its verdicts are worth. "
            "Hold it against labels with persona-env judge calibrate."
        )
    return remarks
