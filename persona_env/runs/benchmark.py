"""A benchmark: simulators side by side on the same personas, seeds, task agent and questions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from typing import Any

from persona_env.envs.persona_source import resolve_personas
from persona_env.evaluation.eval_log import FILE, EvalLog, Header, JudgeInfo, load_eval_log, save_eval_log
from persona_env.evaluation.eval_suite import EvalSuite
from persona_env.evaluation.rollout import counter, try_out
from persona_env.evaluation.scoring import all_scores, run_arm, scores
from persona_env.models.limits import Usage
from persona_env.runs.config import CONTENTS, JudgeSettings, check_readers, refuse_changes
from persona_env.runs.contents import contents, refuse_other_contents
from persona_env.runs.costs import CostLog, check_invalid
from persona_env.runs.run_folder import CONFIG, RunFolder
from persona_env.runs.run_judge import RunJudge
from persona_env.settings import settings_of
from persona_env.speakers import load_speaker

__all__ = ["Benchmark"]


class Benchmark:
    """Simulators, by name and spec, on one suite. All are loaded and tried when it is made (InputError).

    `simulators` is how they were given; a resumed benchmark must get the same.
    """

    def __init__(self, arms: Mapping[str, str], suite: EvalSuite, judging: JudgeSettings, simulators: Sequence[str]):
        self.arms, self.suite, self.judging = arms, suite, judging
        personas = resolve_personas(suite.role, suite.personas, suite.split)
        check_readers(personas, judging.judge, arms.values())
        self.judge = RunJudge.from_settings(judging, personas)
        self.task_agent = load_speaker(suite.task_agent)
        self.speakers = {name: load_speaker(spec, suite.max_tokens) for name, spec in arms.items()}
        try_out([*self.speakers.values()], self.task_agent, suite)
        now = contents(suite.role, suite.personas, self.judge, self.task_agent, self.speakers)
        settings = {**asdict(judging), **asdict(suite), "metrics": [*suite.metrics]}
        self.config: dict[str, Any] = {"simulators": [*simulators], **settings, CONTENTS: now}
        calibrated = self.judge.is_calibrated(judging.judge_calibration, suite.role, suite.metrics)
        info = JudgeInfo(judging.judge, self.judge.identity, calibrated, self.judge.canaries)
        self.log = EvalLog(Header.now("bench", suite, info, self.config))
        self.counts: Mapping[str, int] = {}

    def run(self, folder: RunFolder | None, progress: Callable[[str, int, int], None]) -> EvalLog:
        """Measures the arms that the folder, if there is one, does not hold yet; each is written when it is sound.

        Raises:
            RunEnded: If the judge cannot go on, or an arm has too many invalid verdicts; the benchmark can be resumed.
        """
        with ExitStack() as stack:
            for one in (self.task_agent, *self.speakers.values(), self.judge):
                stack.enter_context(closing(one))
            costs = self._begin(folder) if folder else None
            if folder is None:
                self.judge.open(speakers=(self.task_agent, *self.speakers.values()))
            for name in self.arms:
                if self.log.arm(name) is None:
                    self._measure(name, progress)
                    if folder and costs:
                        with folder.writing(FILE):
                            save_eval_log(folder.path / FILE, self.log)
                        costs.note(name)
            self.counts = costs.counts if costs else self.judge.counts
        if folder:
            folder.write_json("summary.json", {name: found.as_json() for name, found in all_scores(self.log).items()})
        return self.log

    def _begin(self, folder: RunFolder) -> CostLog:
        """Writes what is measured, or reads back what has been, and opens the judge."""
        if folder.resumed:
            found = folder.read_json(CONFIG)
            free = [CONTENTS, *(name for name, s in settings_of(JudgeSettings).items() if s.resumable)]
            refuse_changes(found, self.config, free)
            refuse_other_contents(found, self.config[CONTENTS])
        folder.write_json(CONFIG, self.config)
        if (folder.path / FILE).is_file():
            self.log = load_eval_log(folder.path)
        costs = CostLog(folder, lambda: self.judge.counts)
        spent = Usage(costs.counts["calls"], prompt_tokens=costs.counts["tokens"])
        self.judge.open(folder.path, spent, costs.book, (self.task_agent, *self.speakers.values()))
        return costs

    def _measure(self, name: str, progress: Callable[[str, int, int], None]) -> None:
        """Plays and judges one arm, and adds it to the log."""
        suite = self.suite
        total = suite.dialogues * (suite.lines + suite.lines // suite.questions_every)
        tick = counter(progress, name, total)
        self.task_agent.reset_cache()  # a cache would make a resumed benchmark differ in the last bits
        with self.judge.stage():
            named = {"name": name, "spec": self.arms[name]}
            arm = run_arm(self.speakers[name], suite, self.judge, **named, tick=tick, task_agent=self.task_agent)
            check_invalid(f"the arm {name!r}", self.judging.most_invalid, scores(arm, self.log.header.metrics).counts)
        self.log = self.log.with_arm(arm)
