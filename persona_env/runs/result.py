"""Result of a train-and-evaluate run; partial if it was interrupted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from persona_env.errors import RunEnded, Terminated
from persona_env.evaluation.eval_log import EvalLog
from persona_env.evaluation.scoring import Estimate, Scores, all_scores, generalisation_gap, reductions
from persona_env.judges.base import VerdictCounts
from persona_env.roles import role_named
from persona_env.runs.config import RunConfig
from persona_env.runs.costs import judge_usage

__all__ = ["TrainResult", "summary"]


@dataclass(slots=True)
class TrainResult:
    """What a run has found so far, and what it has cost: `CostLog.seconds` and `CostLog.counts`."""

    config: RunConfig
    log: EvalLog
    tokens: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])
    ended: RunEnded | KeyboardInterrupt | None = None  # why it stopped before its end, if it did
    verdicts_in_training: VerdictCounts = field(default_factory=VerdictCounts)
    verdicts_not_kept: VerdictCounts = field(default_factory=VerdictCounts)  # of a stage that was not sound
    judge_counts: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def status(self) -> str:
        """`complete`, `interrupted` (with Ctrl-C) or `stopped` (it could not go on)."""
        if self.ended is None:
            return "complete"
        return "stopped" if isinstance(self.ended, RunEnded) else "interrupted"

    @property
    def exit_code(self) -> int:
        """What the command line ends with."""
        if isinstance(self.ended, RunEnded | Terminated):
            return self.ended.exit_code
        return 130 if self.ended else 0


def summary(result: TrainResult) -> dict[str, Any]:
    """Returns what stands in `summary.json`; what is not measured yet is None."""
    config, found = result.config, all_scores(result.log)
    before, after, training = found.get("before"), found.get("after"), found.get("train_personas")
    extended, drift_free = result.log.arm("after_extended"), found.get("drift_free")
    others = result.verdicts_in_training + result.verdicts_not_kept
    verdicts = sum((scores.counts for scores in found.values()), others)
    return {
        "status": result.status,
        **({"reason": str(result.ended)} if isinstance(result.ended, RunEnded) else {}),
        "role": role_named(config.role).key,
        "simulator": config.simulator,
        "judge": config.judge,
        "judge_calibrated": result.log.header.judge.is_calibrated,
        "canaries": result.log.header.judge.canaries,
        "algorithm": config.algorithm.name,
        "seed": config.seed,
        "split": config.split,
        "heldout_personas": sorted(set(before.personas)) if before else [],
        "lines": config.lines,
        **_comparison(before, after),
        "extended": {"lines": extended.suite.lines, **_comparison(found["before_extended"], found["after_extended"])}
        if extended
        else None,
        "train_personas": training.as_json() if training else None,
        "drift_free": drift_free.as_json() if drift_free else None,
        "generalisation_gap": generalisation_gap(after, training) if after and training else {},
        "tokens": result.tokens,
        "judge_usage": judge_usage(result.judge_counts, config.judge_budget, verdicts),
        "seconds": round(sum(result.seconds.values()), 2),
        "stages": {name: round(value, 2) for name, value in result.seconds.items()},
        "versions": dict(result.log.header.versions),
    }


def _comparison(before: Scores | None, after: Scores | None) -> dict[str, Any]:
    table = reductions(before, after) if before and after else None
    return {
        "before": before.as_json() if before else None,
        "after": after.as_json() if after else None,
        "reduction": None if table is None else {name: Estimate.of(i).interval for name, i in table.items()},
    }
