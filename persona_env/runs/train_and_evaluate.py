"""The main job: evaluate a simulator, train it, evaluate it again on the same personas, seeds and sampler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from persona_env.calibration.calibration import is_calibrated
from persona_env.envs.persona_source import resolve_personas
from persona_env.errors import RunEnded
from persona_env.evaluation.eval_log import FILE, EvalLog, Header, JudgeInfo, load_eval_log, save_eval_log
from persona_env.evaluation.eval_suite import EvalSuite
from persona_env.evaluation.scoring import run_arm, scores
from persona_env.metrics import METRICS, load_metric
from persona_env.models.limits import Usage
from persona_env.roles import BUNDLED, role_named
from persona_env.runs.checkpoint import ROLLOUT, Checkpoints
from persona_env.runs.config import RunConfig, check_understanding
from persona_env.runs.cost_log import CostLog
from persona_env.runs.invalid_rate import InvalidRate
from persona_env.runs.judge_costs import JudgeCosts
from persona_env.runs.result import TrainResult, summary
from persona_env.runs.run_folder import RunFolder
from persona_env.runs.run_judge import RunJudge
from persona_env.speakers import Speaker, load_speaker

__all__ = ["EXTENDED_LENGTH", "Progress", "TrainAndEvaluate", "finished_result"]

EXTENDED_LENGTH = 3
"""Drift returns beyond the trained length, so it is measured at this many times that length too."""

QUESTIONS = 4
"""Probes in each measured dialogue."""

Progress = Callable[[str, int, int], None]
"""Called with a stage, how much of it is done, and how much there is to do."""


class TrainAndEvaluate:
    """The main job. Everything is checked when it is made, so that `run` starts only what can end.

    Args:
        config: The run.

    Raises:
        InputError: If a model, judge, task agent or persona source cannot be had.
    """

    def __init__(self, config: RunConfig):
        from persona_env.runs.training import training_envs
        from persona_env.speakers.local import LanguageModel

        check_understanding(config.judge, config.personas)
        self.config = config
        self.judge = RunJudge.from_config(config)
        self.simulator = LanguageModel.load(
            config.simulator, max_tokens=config.max_tokens, dtype=config.dtype, load_in_4bit=config.load_in_4bit
        )
        self.envs = training_envs(config, self.judge)
        resolve_personas(config.role, config.personas, config.split)
        self.suite = _suite(config)
        judge = JudgeInfo(config.judge, self.judge.identity, _is_calibrated(self.judge, config))
        header = Header.now("train", self.suite, judge, config.as_json())
        self.result = TrainResult(config, EvalLog(header))

    @property
    def damaged(self) -> list[str]:
        """Names of the folder's checkpoints that were not as they had been written, and were not used."""
        return self._checkpoints.damaged

    def run(self, folder: RunFolder, progress: Progress) -> TrainResult:
        """Evaluates, trains, evaluates again, and writes the run folder.

        What a run in the same folder has done already is not done again. Ctrl-C, or a judge that cannot
        go on, ends it cleanly: what is known by then is written, and its `status` says so.

        Raises:
            CannotWrite: If there is no room on the disk; what stood there stands there still.
        """
        from persona_env.runs.training import torch_threads

        self._open(folder)
        try:
            with torch_threads(self.config.threads):
                self._run_stages(progress)
        except KeyboardInterrupt:
            self.result.interrupted = True
        except RunEnded as ended:
            self.result.ended = ended
        finally:
            self.judge.close()
        self._write_summary()
        return self.result

    def _open(self, folder: RunFolder) -> None:
        """Writes the settings, and reads back what an earlier process of the run has measured and spent."""
        config, result = self.config.as_json(), self.result
        if not (folder.path / "config.json").is_file() or folder.read_json("config.json") != config:
            folder.write_json("config.json", config)
        if (folder.path / FILE).is_file():
            found = load_eval_log(folder.path)
            result.log = EvalLog(replace(result.log.header, created=found.header.created), found.arms)
        self._folder, self._checkpoints = folder, Checkpoints(folder)
        self._cost_log = CostLog(folder, lambda: self.judge.counts)
        spent = Usage(calls=self._cost_log.total("calls"), prompt_tokens=self._cost_log.total("tokens"))
        self.judge.open(folder.path, spent, self._cost_log.book)

    def _run_stages(self, progress: Progress) -> None:
        config, suite = self.config, self.suite
        extended = _extended(suite, config.extended_dialogues) if config.extended_dialogues else None
        self._evaluate("before", config.simulator, self.simulator, suite, progress)
        if extended:
            self._evaluate("before_extended", config.simulator, self.simulator, extended, progress)
        trained = self._train(progress)
        self._evaluate("after", "model", trained, suite, progress)
        if extended:
            self._evaluate("after_extended", "model", trained, extended, progress)
        self._evaluate("train_personas", "model", trained, replace(suite, split="train"), progress)
        if config.personas == "bundled" and suite.role in BUNDLED:  # the embedded world has a drift-free speaker
            self._evaluate("drift_free", "scripted", load_speaker("scripted"), suite, progress)

    def _evaluate(self, stage: str, spec: str, speaker: Speaker, suite: EvalSuite, progress: Progress) -> None:
        """Plays and judges the dialogues of a stage, unless they stand in the log already."""
        done, total = 0, suite.dialogues * (suite.lines + suite.lines // suite.questions_every)

        def tick(lines: int) -> None:
            nonlocal done
            done += lines
            progress(stage, done, total)

        tick(0)
        arm = self.result.log.arm(stage)
        if arm is None:
            speaker.reset_cache()  # a cache would make a resumed run differ in the last bits
            arm = run_arm(speaker, suite, self.judge, name=stage, spec=spec, tick=tick)
            log = self.result.log.with_arm(arm)
            save_eval_log(self._folder.path / FILE, log)
            self.result.log = log
            self._cost_log.note(stage)
        tick(total - done)
        found = scores(arm, self.result.log.header.metrics)
        InvalidRate(f"the stage {stage!r}", self.config.max_invalid, found.judged, found.invalid).close()

    def _train(self, progress: Progress) -> Speaker:
        from persona_env.runs.training import Training

        training = Training(
            self.config,
            folder=self._folder,
            checkpoints=self._checkpoints,
            cost_log=self._cost_log,
            progress=lambda tokens: progress("training", tokens, self.config.tokens),
        )
        try:
            return training.fit(self.simulator, self.envs)
        finally:
            self.result.tokens = training.tokens
            self.result.invalid_in_training = training.invalid_rate.invalid

    def _write_summary(self) -> None:
        """Writes the summary; what only a resumed run would need goes when all is done."""
        result = self.result
        result.seconds = self._cost_log.seconds
        result.judge_costs = JudgeCosts(**{name: self._cost_log.total(name) for name in JudgeCosts.names()})
        self._folder.write_json("summary.json", summary(result))
        if result.status == "complete":
            self._checkpoints.prune(ROLLOUT, keep=0)


def finished_result(folder: RunFolder, config: RunConfig) -> TrainResult | None:
    """Returns the result of a run that is complete, None if there is something left to do."""
    if not all((folder.path / name).is_file() for name in ("summary.json", FILE)):
        return None
    found = folder.read_json("summary.json")
    if found.get("status") != "complete":
        return None
    result = TrainResult(config, load_eval_log(folder.path), found["tokens"], dict(found["stages"]))
    result.judge_costs = JudgeCosts.of(found["judge_usage"])
    result.invalid_in_training = found["judge_usage"]["invalid"] - result.invalid  # what the stages do not account for
    Checkpoints(folder).prune(ROLLOUT, keep=0)
    return result


def _suite(config: RunConfig) -> EvalSuite:
    """Returns what is evaluated before and after: all our metrics, and those that are rewarded."""
    return EvalSuite(
        role=config.role,
        personas=config.personas,
        split=config.split,
        dialogues=config.dialogues,
        lines=config.lines,
        seed=config.seed,
        questions_every=max(1, config.lines // QUESTIONS),
        task_agent=config.task_agent,
        max_tokens=config.max_tokens,
        metrics=tuple(dict.fromkeys([*METRICS.builtins, *config.rewards])),
    )


def _extended(suite: EvalSuite, dialogues: int) -> EvalSuite:
    lines = EXTENDED_LENGTH * suite.lines
    return replace(suite, dialogues=dialogues, lines=lines, questions_every=max(1, lines // QUESTIONS))


def _is_calibrated(judge: RunJudge, config: RunConfig) -> bool:
    """Returns whether the judge is exact, or was found usable for all rewards that it decides."""
    if judge.is_exact:
        return True
    judged = [name for name in config.rewards if load_metric(name).is_judged]
    found = config.judge_calibration
    return bool(found) and is_calibrated(found, judge.identity, role_named(config.role).key, judged)
