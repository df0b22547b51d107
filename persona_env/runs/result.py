"""What the main job found, as far as it came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from persona_env.evaluation.eval_suite import EvalSuite, Dialogue
from persona_env.evaluation.scoring import DRIFT_TYPES, Scores, reductions
from persona_env.runs.judge_costs import JudgeCosts
from persona_env.runs.config import RunConfig
from persona_env.errors import RunEnded

__all__ = ["INTERRUPTED", "Comparison", "Measured", "TrainResult"]

INTERRUPTED = 130
"""The exit code after Ctrl-C."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Dialogues that were played, and their scores."""

    suite: EvalSuite
    played: Sequence[Dialogue]
    scores: Scores


@dataclass(frozen=True, slots=True)
class Comparison:
    """The same dialogues before and after training."""

    before: Measured
    after: Measured

    @property
    def lines(self) -> int:
        """The simulator's lines in each dialogue."""
        return self.before.suite.lines

    def as_json(self) -> dict[str, Any]:
        """Returns values, reductions and their intervals as plain data."""
        table = reductions(self.before.scores, self.after.scores)
        return {
            "lines": self.lines,
            "before": self.before.scores.as_json(),
            "after": self.after.scores.as_json(),
            "reduction": {name: _number(interval.mean) for name, interval in table.items()},
            "reduction_interval": {name: [_number(i.low), _number(i.high)] for name, i in table.items()},
        }


def _number(value: float) -> float | None:
    return None if value != value else value


@dataclass(slots=True)
class TrainResult:
    """What the main job found, as far as it came.

    Attributes:
        settings: The run's settings.
        measured: By stage: `before`, `after` (the trained length), `before_extended`, `after_extended`,
            `seen` (after, on people of the training split), `drift_free` (the zero-drift speaker of
            the same grammar).
        tokens: The learner's tokens.
        seconds: Wall time by stage.
        interrupted: Whether it was stopped with Ctrl-C before its end.
        ended: Why it could not go on, if it could not.
        invalid: Verdicts of the training that could not be read.
        judge_costs: What the judge was asked in all, and how it did.
        calibrated: Whether there is a measure of how far the judge can be trusted.
    """

    settings: RunConfig
    measured: dict[str, Measured] = field(default_factory=dict)
    tokens: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    interrupted: bool = False
    ended: RunEnded | None = None
    invalid: int = 0
    judge_costs: JudgeCosts = field(default_factory=JudgeCosts)
    calibrated: bool = True

    @property
    def status(self) -> str:
        """`complete`, `interrupted` (with Ctrl-C) or `stopped` (it could not go on)."""
        return "stopped" if self.ended else "interrupted" if self.interrupted else "complete"

    @property
    def exit_code(self) -> int:
        """What the command line ends with."""
        return self.ended.exit_code if self.ended else INTERRUPTED if self.interrupted else 0

    @property
    def trained(self) -> Comparison | None:
        """Before and after at the trained length, where both are known."""
        return self._comparison("before", "after")

    @property
    def longer(self) -> Comparison | None:
        """Before and after at three times the trained length, where both are known."""
        return self._comparison("before_extended", "after_extended")

    def _comparison(self, *stages: str) -> Comparison | None:
        if not all(stage in self.measured for stage in stages):
            return None
        return Comparison(*(self.measured[stage] for stage in stages))

    def scores(self, stage: str) -> Scores | None:
        """Returns the scores of a stage, where they are known."""
        return self.measured[stage].scores if stage in self.measured else None

    @property
    def invalid_in_all(self) -> int:
        """Verdicts that could not be read, in training and in all stages."""
        return self.invalid + sum(measured.scores.invalid for measured in self.measured.values())

    @property
    def gap(self) -> dict[str, float | None]:
        """How many times as inconsistent the simulator is with people it has not met in training."""
        unseen, seen = self.scores("after"), self.scores("seen")
        if unseen is None or seen is None:
            return {}
        return {name: _times(unseen.estimate(name).value, seen.estimate(name).value) for name in DRIFT_TYPES}

    def as_json(self) -> dict[str, Any]:
        """Returns what stands in `summary.json`."""
        s, before = self.settings, self.measured.get("before")
        summary: dict[str, Any] = {
            "status": self.status,
            **({"reason": str(self.ended)} if self.ended else {}),
            **{name: getattr(s, name) for name in ("role", "simulator", "judge", "seed", "split")},
            "algorithm": s.algorithm.name,
            "heldout_personas": sorted(set(before.scores.personas)) if before else [],
            "lines": s.lines,
            "before": before.scores.as_json() if before else None,
            "after": None,
            "reduction": None,
        }
        summary |= self.trained.as_json() if self.trained else {}
        for stage in ("seen", "drift_free"):
            summary[stage] = self.measured[stage].scores.as_json() if stage in self.measured else None
        summary |= {
            "longer": self.longer.as_json() if self.longer else None,
            "gap": self.gap,
            "tokens": self.tokens,
            "judge_calibrated": self.calibrated,
            "judge_usage": {**self.judge_costs.as_json(s.judge_budget), "invalid": self.invalid_in_all},
            "seconds": round(sum(self.seconds.values()), 2),
            "stages": {name: round(value, 2) for name, value in self.seconds.items()},
        }
        return summary


def _times(unseen: float | None, seen: float | None) -> float | None:
    """Ratio of two inconsistencies, from two consistencies; None where there is none to compare with."""
    return None if unseen is None or seen is None or seen == 1 else (1 - unseen) / (1 - seen)
