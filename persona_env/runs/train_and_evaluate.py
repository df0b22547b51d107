"""The main job: measure a simulator, train it, measure it again on the same people, seeds and sampler."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from persona_env.calibration.calibrate import is_calibrated
from persona_env.evaluation.eval_suite import EvalSuite
from persona_env.runs.result import Measured, TrainResult
from persona_env.evaluation.rollout import play
from persona_env.evaluation.records import dialogue_records
from persona_env.evaluation.scoring import score
from persona_env.evaluation.stages import load_stage, save_stage
from persona_env.envs.persona_source import resolve_personas
from persona_env.runs.checkpoint import ROLLOUT, Checkpoints
from persona_env.runs.judge_costs import JudgeCosts
from persona_env.runs.cost_log import CostLog
from persona_env.runs.run_folder import RunFolder
from persona_env.runs.run_judge import RunJudge
from persona_env.runs.config import RunConfig, check_understanding
from persona_env.runs.invalid_rate import InvalidRate
from persona_env.io import LoggedDialogue, save_logs
from persona_env.errors import RunEnded
from persona_env.speakers import Speaker, load_speaker

if TYPE_CHECKING:
    from persona_env.runs.training import Training

__all__ = ["EXTENDED_LENGTH", "TrainAndEvaluate", "Progress", "finished_outcome"]

EXTENDED_LENGTH = 3
"""Drift comes back beyond the trained length, so it is measured at this many times that length too."""

QUESTIONS = 4
"""Q&A questions asked on branches of each measured dialogue."""

STAGES = ("before", "before_extended", "after", "after_extended", "seen", "drift_free")
"""What is measured, in this order; training stands between the second and the third."""

UNJUDGED = ("copying", "repetition")
"""What the text alone settles."""

Progress = Callable[[str, int, int], None]
"""Called with a stage, how much of it is done, and how much there is to do."""


class TrainAndEvaluate:
    """The main job. Everything is checked when it is made, so that `run` starts only what can end.

    Args:
        settings: The run.

    Raises:
        ValueError: If a model, judge, task agent or persona source cannot be had.
    """

    def __init__(self, settings: RunConfig):
        from persona_env.runs.training import training_envs
        from persona_env.speakers.local import LanguageModel

        check_understanding(settings.judge, settings.personas)
        self.settings = settings
        self.judge = RunJudge(settings)
        self.simulator = LanguageModel.load(
            settings.simulator,
            max_tokens=settings.max_tokens,
            dtype=settings.dtype,
            load_in_4bit=settings.load_in_4bit,
        )
        self.envs = training_envs(settings, self.judge)
        resolve_personas(settings.role, settings.personas, settings.split)
        self.result = TrainResult(settings, calibrated=_calibrated(self.judge, settings))

    @property
    def damaged(self) -> list[str]:
        """Names of the folder's checkpoints that were not as they had been written, and were not used."""
        return self._checkpoints.damaged

    def run(self, folder: RunFolder, progress: Progress) -> TrainResult:
        """Measures, trains, measures again, and writes the run folder.

        What a run in the same folder has done already is not done again. Ctrl-C, or a judge that cannot
        go on, ends it cleanly: what is known by then is written, and its `status` says so.

        Raises:
            CannotWrite: If there is no room on the disk; what stood there stands there still.
        """
        from persona_env.runs.training import torch_threads

        self._keep_config(folder)
        self._folder, self._checkpoints = folder, Checkpoints(folder)
        self._ledger = CostLog(folder, self.judge.usage)
        spent = {name: self._ledger.total(name) for name in ("calls", "tokens")}
        self.judge.open(folder.path, spent, self._ledger.book)
        try:
            with torch_threads(self.settings.threads):
                self._stages(progress)
        except KeyboardInterrupt:
            self.result.interrupted = True
        except RunEnded as ended:
            self.result.ended = ended
        finally:
            self.judge.close()
        self._write()
        return self.result

    def _keep_config(self, folder: RunFolder) -> None:
        config = self.settings.as_json()
        if not (folder.path / "config.json").is_file() or folder.read_json("config.json") != config:
            folder.write_json("config.json", config)

    def _write(self) -> None:
        """Writes the dialogues and the summary; what only a resumed run would need goes when all is done."""
        result, folder = self.result, self._folder
        _read_costs(result, self._ledger)
        if result.measured:
            save_logs(folder.path / "dialogues.jsonl", self._records())
        folder.write_json("summary.json", result.as_json())
        if result.status == "complete":
            _tidy(self._checkpoints)

    def _stages(self, progress: Progress) -> None:
        s = self.settings
        suite = EvalSuite(
            role=s.role, personas=s.personas, split=s.split, dialogues=s.dialogues, lines=s.lines,
            seed=s.seed, questions_every=max(1, s.lines // QUESTIONS), task_agent=s.task_agent,
            max_tokens=s.max_tokens,
        )  # fmt: skip
        every = max(1, EXTENDED_LENGTH * s.lines // QUESTIONS)
        long = replace(
            suite, dialogues=s.extended_dialogues or 1, lines=EXTENDED_LENGTH * s.lines, questions_every=every
        )
        self._measure("before", self.simulator, suite, progress)
        if s.extended_dialogues:
            self._measure("before_extended", self.simulator, long, progress)
        trained = self._learn(progress)
        self._measure("after", trained, suite, progress)
        if s.extended_dialogues:
            self._measure("after_extended", trained, long, progress)
        self._measure("seen", trained, replace(suite, split="train"), progress)
        if s.personas == "bundled":
            self._measure("drift_free", load_speaker("scripted"), suite, progress)

    def _measure(self, stage: str, speaker: Speaker, suite: EvalSuite, progress: Progress) -> None:
        done, total = 0, suite.dialogues * (suite.lines + suite.lines // suite.questions_every)

        def tick(lines: int) -> None:
            nonlocal done
            done += lines
            progress(stage, done, total)

        tick(0)
        measured = load_stage(self._checkpoints, stage)
        if measured is None:
            speaker.reset_cache()  # what was read before must not matter, or a resumed run would differ in the last bits
            played = play(speaker, suite, tick=tick)
            measured = Measured(suite, played, score(played, self.judge))
            save_stage(self._checkpoints, stage, measured)
            self._ledger.note(stage)
        tick(total - done)
        self.result.measured[stage] = measured
        invalid_rate = InvalidRate(f"the stage {stage!r}", self.settings.max_invalid)
        invalid_rate.judged, invalid_rate.invalid = measured.scores.judged, measured.scores.invalid
        invalid_rate.close()

    def _learn(self, progress: Progress) -> Speaker:
        from persona_env.runs.training import Training

        training = Training(
            self.settings,
            folder=self._folder,
            checkpoints=self._checkpoints,
            cost_log=self._ledger,
            progress=lambda tokens: progress("training", tokens, self.settings.tokens),
        )
        try:
            return training.fit(self.simulator, self.envs)
        finally:
            self._note(training)

    def _note(self, training: Training) -> None:
        self.result.tokens, self.result.invalid = training.tokens, training.invalid_rate.invalid

    def _records(self) -> Iterator[LoggedDialogue]:
        for stage, measured in self.result.measured.items():
            yield from dialogue_records(stage, measured.played, measured.scores)


def finished_outcome(folder: RunFolder, settings: RunConfig) -> TrainResult | None:
    """Returns the result of a run that has ended as it should, None if there is something left to do."""
    if not (folder.path / "summary.json").is_file():
        return None
    summary, checkpoints = folder.read_json("summary.json"), Checkpoints(folder)
    if summary.get("status") != "complete":
        return None
    result = TrainResult(settings, tokens=summary["tokens"], seconds=dict(summary["stages"]))
    result.judge_costs = JudgeCosts.of(summary["judge_usage"])
    for stage in STAGES:
        measured = load_stage(checkpoints, stage)
        if measured is not None:
            result.measured[stage] = measured
    result.invalid = summary["judge_usage"]["invalid"] - result.invalid_in_all  # what the stages do not account for
    _tidy(checkpoints)
    return result if result.trained else None


def _calibrated(judge: RunJudge, settings: RunConfig) -> bool:
    if judge.exact:
        return True
    kinds = [name for name in settings.rewards if name not in UNJUDGED]
    found = settings.judge_calibration
    return bool(found) and is_calibrated(found, judge.identity, settings.role, kinds)


def _tidy(checkpoints: Checkpoints) -> None:
    checkpoints.prune(ROLLOUT, keep=0)


def _read_costs(result: TrainResult, cost_log: CostLog) -> None:
    result.seconds = cost_log.seconds
    result.judge_costs = JudgeCosts(**{name: cost_log.total(name) for name in JudgeCosts.names()})
