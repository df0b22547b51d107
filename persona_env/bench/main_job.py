"""The main job: measure a simulator, train it, measure it again on the same people, seeds and sampler."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from persona_env.bench.calibrate import is_calibrated
from persona_env.bench.cases import Cases
from persona_env.bench.outcome import Measured, Outcome
from persona_env.bench.play import play
from persona_env.bench.records import dialogue_records
from persona_env.bench.score import score
from persona_env.bench.stages import load_stage, save_stage
from persona_env.envs.casting import load_cast
from persona_env.learning.checkpoint import ROLLOUT, Checkpoints
from persona_env.learning.judge_costs import JudgeCosts
from persona_env.learning.ledger import Ledger
from persona_env.learning.run_folder import RunFolder
from persona_env.learning.run_judge import RunJudge
from persona_env.learning.settings import Settings, check_understanding
from persona_env.learning.validity import Tally
from persona_env.logs import LoggedDialogue, save_logs
from persona_env.remote.faults import RunEnded
from persona_env.speakers import Speaker, load_speaker

if TYPE_CHECKING:
    from persona_env.learning.training import Training

__all__ = ["LONGER", "MainJob", "Progress", "finished_outcome"]

LONGER = 3
"""Drift comes back beyond the trained length, so it is measured at this many times that length too."""

QUESTIONS = 4
"""Q&A questions asked on branches of each measured dialogue."""

STAGES = ("before", "before_longer", "after", "after_longer", "seen", "zero_drift")
"""What is measured, in this order; training stands between the second and the third."""

UNJUDGED = ("copying", "repetition")
"""What the text alone settles."""

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
        from persona_env.learning.memory import loading_options
        from persona_env.learning.rewarded import rewarded_dialogues
        from persona_env.sb3 import as_sb3
        from persona_env.speakers.language_model import LanguageModel

        check_understanding(settings.judge, settings.personas)
        self.settings = settings
        self.judge = RunJudge(settings)
        options = loading_options(settings)
        self.simulator = LanguageModel.load(settings.simulator, max_tokens=settings.max_tokens, **options)
        self.envs = as_sb3(rewarded_dialogues(settings, self.judge))
        load_cast(settings.role, settings.personas, settings.split)
        self.outcome = Outcome(settings, calibrated=_calibrated(self.judge, settings))

    @property
    def damaged(self) -> list[str]:
        """Names of the folder's checkpoints that were not as they had been written, and were not used."""
        return self._checkpoints.damaged

    def run(self, folder: RunFolder, progress: Progress) -> Outcome:
        """Measures, trains, measures again, and writes the run folder.

        What a run in the same folder has done already is not done again. Ctrl-C, or a judge that cannot
        go on, ends it cleanly: what is known by then is written, and its `status` says so.

        Raises:
            CannotWrite: If there is no room on the disk; what stood there stands there still.
        """
        from persona_env.learning.threads import torch_threads

        self._keep_config(folder)
        self._folder, self._checkpoints = folder, Checkpoints(folder)
        self._ledger = Ledger(folder, self.judge.usage)
        spent = {name: self._ledger.total(name) for name in ("calls", "tokens")}
        self.judge.open(folder.path, spent, self._ledger.book)
        try:
            with torch_threads(self.settings.threads):
                self._stages(progress)
        except KeyboardInterrupt:
            self.outcome.interrupted = True
        except RunEnded as ended:
            self.outcome.ended = ended
        finally:
            self.judge.close()
        self._write()
        return self.outcome

    def _keep_config(self, folder: RunFolder) -> None:
        config = self.settings.as_json()
        if not (folder.path / "config.json").is_file() or folder.read_json("config.json") != config:
            folder.write_json("config.json", config)

    def _write(self) -> None:
        """Writes the dialogues and the summary; what only a resumed run would need goes when all is done."""
        outcome, folder = self.outcome, self._folder
        _read_costs(outcome, self._ledger)
        if outcome.measured:
            save_logs(folder.path / "dialogues.jsonl", self._records())
        folder.write_json("summary.json", outcome.as_json())
        if outcome.status == "complete":
            _tidy(self._checkpoints)

    def _stages(self, progress: Progress) -> None:
        s = self.settings
        cases = Cases(
            role=s.role, personas=s.personas, split=s.split, dialogues=s.dialogues, lines=s.lines,
            seed=s.seed, questions_every=max(1, s.lines // QUESTIONS), task_agent=s.task_agent,
            max_tokens=s.max_tokens,
        )  # fmt: skip
        every = max(1, LONGER * s.lines // QUESTIONS)
        long = replace(cases, dialogues=s.long_dialogues or 1, lines=LONGER * s.lines, questions_every=every)
        self._measure("before", self.simulator, cases, progress)
        if s.long_dialogues:
            self._measure("before_longer", self.simulator, long, progress)
        trained = self._learn(progress)
        self._measure("after", trained, cases, progress)
        if s.long_dialogues:
            self._measure("after_longer", trained, long, progress)
        self._measure("seen", trained, replace(cases, split="train"), progress)
        if s.personas == "bundled":
            self._measure("zero_drift", load_speaker("scripted"), cases, progress)

    def _measure(self, stage: str, speaker: Speaker, cases: Cases, progress: Progress) -> None:
        done, total = 0, cases.dialogues * (cases.lines + cases.lines // cases.questions_every)

        def tick(lines: int) -> None:
            nonlocal done
            done += lines
            progress(stage, done, total)

        tick(0)
        measured = load_stage(self._checkpoints, stage)
        if measured is None:
            _start_over(speaker)
            played = play(speaker, cases, tick=tick)
            measured = Measured(cases, played, score(played, self.judge))
            save_stage(self._checkpoints, stage, measured)
            self._ledger.note(stage)
        tick(total - done)
        self.outcome.measured[stage] = measured
        tally = Tally(f"the stage {stage!r}", self.settings.max_invalid)
        tally.judged, tally.invalid = measured.scores.judged, measured.scores.invalid
        tally.close()

    def _learn(self, progress: Progress) -> Speaker:
        from persona_env.learning.training import Training
        from persona_env.speakers.language_model import LanguageModel

        training = Training(
            self.settings,
            self.envs,
            self.simulator,
            folder=self._folder,
            checkpoints=self._checkpoints,
            ledger=self._ledger,
        )
        try:
            training.run(lambda tokens: progress("training", tokens, training.total))
        finally:
            self._note(training)
        policy: Any = training.learner.policy
        model = policy.lm.get_base_model() if hasattr(policy.lm, "get_base_model") else policy.lm
        return LanguageModel(model, policy.tokenizer, policy.chat, max_tokens=self.settings.max_tokens)

    def _note(self, training: Training) -> None:
        self.outcome.tokens, self.outcome.invalid = training.tokens, training.tally.invalid

    def _records(self) -> Iterator[LoggedDialogue]:
        for stage, measured in self.outcome.measured.items():
            yield from dialogue_records(stage, measured.played, measured.scores)


def finished_outcome(folder: RunFolder, settings: Settings) -> Outcome | None:
    """Returns the outcome of a run that has ended as it should, None if there is something left to do."""
    if not (folder.path / "summary.json").is_file():
        return None
    summary, checkpoints = folder.read_json("summary.json"), Checkpoints(folder)
    if summary.get("status") != "complete":
        return None
    outcome = Outcome(settings, tokens=summary["tokens"], seconds=dict(summary["stages"]))
    outcome.judge_costs = JudgeCosts.of(summary["judge_usage"])
    for stage in STAGES:
        measured = load_stage(checkpoints, stage)
        if measured is not None:
            outcome.measured[stage] = measured
    outcome.invalid = summary["judge_usage"]["invalid"] - outcome.invalid_in_all  # what the stages do not account for
    _tidy(checkpoints)
    return outcome if outcome.trained else None


def _calibrated(judge: RunJudge, settings: Settings) -> bool:
    if judge.exact:
        return True
    kinds = [name for name in settings.rewards if name not in UNJUDGED]
    found = settings.judge_calibration
    return bool(found) and is_calibrated(found, judge.identity, settings.role, kinds)


def _start_over(speaker: Speaker) -> None:
    """What it has read in another stage must not matter, or a resumed run would differ in the last bits."""
    start_over = getattr(speaker, "start_over", None)
    if start_over is not None:
        start_over()


def _tidy(checkpoints: Checkpoints) -> None:
    checkpoints.prune(ROLLOUT, kept=0)


def _read_costs(outcome: Outcome, ledger: Ledger) -> None:
    outcome.seconds = ledger.seconds
    outcome.judge_costs = JudgeCosts(**{name: ledger.total(name) for name in JudgeCosts.names()})
