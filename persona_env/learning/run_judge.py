"""The judge of a run: one for the rewards and the measurements, whose verdicts stand in the run's own journal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from persona_env.judges import Judge, Question, Verdict, load_judge
from persona_env.learning.settings import Settings

__all__ = ["RunJudge"]


class RunJudge:
    def __init__(self, settings: Settings):
        self.settings = settings
        self._judge: Judge = load_judge(settings.judge)
        self.calibrated = True

    def judge(self, questions: Sequence[Question]) -> list[Verdict]:
        return self._judge.judge(questions)

    def open(self, folder: Path) -> None: ...

    def close(self) -> None: ...

    def usage(self) -> dict[str, int]:
        return {}
