"""The main job: measure a simulator, train it, measure it again on the same people, seeds and sampler."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from persona_env.bench.cases import Cases
from persona_env.bench.outcome import Measured, Outcome
from persona_env.bench.play import play
from persona_env.bench.records import dialogue_records
from persona_env.bench.score import score
from persona_env.envs.casting import load_cast
from persona_env.judges import load_judge
from persona_env.learning.run_folder import RunFolder
from persona_env.learning.settings import Settings
from persona_env.logs import LoggedDialogue, save_logs
from persona_env.speakers import Speaker, load_speaker

__all__ = ["LONGER", "MainJob", "Progress"]

LONGER = 3
"""Drift comes back beyond the trained length, so it is measured at this many times that length too."""

QUESTIONS = 4
"""Q&A questions asked on branches of each measured dialogue."""

Progress = Callable[[str, int, int], None]
"""Called with a stage, how much of it is done, and how much there is to do."""


class MainJob:
    """The main job. Everything is checked when it is made, so that `run` starts only what can end.

    Args:
        settings: The run.

    Raises:
        ValueError: If a model, judge, task agent or persona source cannot be had.
    """

    def __init__(self, settings: Settings):
        from persona_env.learning.rewarded import rewarded_dialogues
        from persona_env.sb3 import as_sb3
        from persona_env.speakers.language_model import LanguageModel

        self.settings = settings
        self.judge = load_judge(settings.judge)
        self.simulator = LanguageModel.load(settings.simulator, max_tokens=settings.max_tokens)
        self.envs = as_sb3(rewarded_dialogues(settings))
        load_cast(settings.role, settings.personas, settings.split)
        self.outcome = Outcome(settings)

    def run(self, folder: RunFolder, progress: Progress) -> Outcome:
        """Measures, trains, measures again, and writes the run folder.

        Ctrl-C ends it cleanly: what is known by then is written, and its `status` says so.
        """
        import torch

        if self.settings.threads:
            torch.set_num_threads(self.settings.threads)
        folder.write_json("config.json", self.settings.as_json())
        try:
            self._stages(folder, progress)
        except KeyboardInterrupt:
            self.outcome.interrupted = True
        if self.outcome.measured:
            save_logs(folder.path / "dialogues.jsonl", self._records())
        folder.write_json("summary.json", self.outcome.as_json())
        return self.outcome

    def _stages(self, folder: RunFolder, progress: Progress) -> None:
        s = self.settings
        cases = Cases(
            role=s.role, personas=s.personas, split=s.split, dialogues=s.dialogues, lines=s.lines,
            seed=s.seed, questions_every=max(1, s.lines // QUESTIONS), task_agent=s.task_agent,
        )  # fmt: skip
        every = max(1, LONGER * s.lines // QUESTIONS)
        long = replace(cases, dialogues=s.long_dialogues or 1, lines=LONGER * s.lines, questions_every=every)
        self._measure("before", self.simulator, cases, progress)
        if s.long_dialogues:
            self._measure("before_longer", self.simulator, long, progress)
        trained = self._learn(folder, progress)
        self._measure("after", trained, cases, progress)
        if s.long_dialogues:
            self._measure("after_longer", trained, long, progress)
        self._measure("seen", trained, replace(cases, split="train"), progress)
        if s.personas == "bundled":
            self._measure("zero_drift", load_speaker("scripted"), cases, progress)

    def _measure(self, stage: str, speaker: Speaker, cases: Cases, progress: Progress) -> None:
        begin, done = time.perf_counter(), 0
        total = cases.dialogues * (cases.lines + cases.lines // cases.questions_every)

        def tick(lines: int) -> None:
            nonlocal done
            done += lines
            progress(stage, done, total)

        tick(0)
        played = play(speaker, cases, tick=tick)
        self.outcome.measured[stage] = Measured(cases, played, score(played, self.judge))
        self.outcome.seconds[stage] = time.perf_counter() - begin

    def _learn(self, folder: RunFolder, progress: Progress) -> Speaker:
        from persona_env.learning.journal import Journal
        from persona_env.learning.loops import make_learner
        from persona_env.speakers.language_model import LanguageModel

        s, begin = self.settings, time.perf_counter()
        total = s.rollouts * s.envs * s.steps

        def write(record: Mapping[str, Any]) -> None:
            folder.append_line("metrics.jsonl", record)

        learner = make_learner(self.envs, s, self.simulator)
        journal = Journal(write, lambda tokens: progress("training", tokens, total))
        try:
            progress("training", 0, total)
            learner.learn(total, callback=journal)
        finally:
            self.outcome.tokens = learner.num_timesteps
            self.outcome.seconds["training"] = time.perf_counter() - begin
            policy: Any = learner.policy
            folder.write_folder("model", policy.save_pretrained)
        return LanguageModel(policy.lm, policy.tokenizer, policy.chat, max_tokens=s.max_tokens)

    def _records(self) -> Iterator[LoggedDialogue]:
        for stage, measured in self.outcome.measured.items():
            yield from dialogue_records(stage, measured.played, measured.scores)
