"""The main job: evaluate a simulator, train it, evaluate it again on the same personas, seeds and sampler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from persona_env.envs.persona_source import resolve_personas
from persona_env.errors import RunEnded
from persona_env.evaluation.eval_log import FILE, EvalLog, Header, JudgeInfo, load_eval_log, save_eval_log
from persona_env.evaluation.eval_suite import EvalSuite
from persona_env.evaluation.rollout import counter, try_out
from persona_env.evaluation.scoring import run_arm, scores
from persona_env.judges.base import VerdictCounts
from persona_env.metrics import METRICS
from persona_env.models.limits import Usage
from persona_env.runs.checkpoint import Checkpoints
from persona_env.runs.config import CONTENTS, RunConfig, check_readers
from persona_env.runs.contents import contents, refuse_other_contents
from persona_env.runs.costs import CostLog, check_invalid
from persona_env.runs.result import TrainResult, summary
from persona_env.runs.run_folder import CONFIG, RunFolder
from persona_env.runs.run_judge import RunJudge
from persona_env.settings import settings_of
from persona_env.speakers import Speaker, load_speaker
from persona_env.world.persona_space import are_readable

__all__ = ["EXTENDED_LENGTH", "Progress", "TrainAndEvaluate", "is_complete"]

EXTENDED_LENGTH = 3
"""Drift returns beyond the trained length, so it is measured at this many times that length too."""

_QUESTIONS = 4  # probes in each measured dialogue

Progress = Callable[[str, int, int], None]
"""Called with a stage, how much of it is done, and how much there is to do."""


class TrainAndEvaluate:
    """The main job. Everything is checked when it is made (InputError), so that `run` starts only what can end."""

    def __init__(self, config: RunConfig):
        from persona_env.runs.training import training_envs
        from persona_env.speakers.local import LanguageModel

        self.config = config
        trained_on, self._personas = (
            resolve_personas(config.role, config.personas, split) for split in ("train", config.split)
        )
        for personas in (trained_on, self._personas):
            check_readers(personas, config.judge, [config.simulator])
        self.judge = RunJudge.from_settings(config, trained_on)
        self.simulator = LanguageModel.load(
            config.simulator, max_tokens=config.max_tokens, dtype=config.dtype, load_in_4bit=config.load_in_4bit
        )
        self.task_agent = load_speaker(config.task_agent)
        self.envs = training_envs(config, self.judge, self.task_agent)
        self.suite = _suite(config)
        try_out([self.simulator], self.task_agent, self.suite)
        is_calibrated = self.judge.is_calibrated(config.judge_calibration, self.suite.role, config.rewards)
        judge = JudgeInfo(config.judge, self.judge.identity, is_calibrated, self.judge.canaries)
        simulators = {"": self.simulator}
        self._contents = contents(config.role, config.personas, self.judge, self.task_agent, simulators)
        header = Header.now("train", self.suite, judge, config.as_json())
        self.result = TrainResult(config, EvalLog(header))

    def run(self, folder: RunFolder, progress: Progress) -> TrainResult:
        """Evaluates, trains, evaluates again, and writes the run folder.

        What a run in the same folder has done already is not done again. Ctrl-C, or a judge that cannot
        go on, ends it cleanly: what is known by then is written, and its `status` says so.
        """
        import torch

        self._open(folder)
        usual = 2 if self.config.simulator == "tiny" else torch.get_num_threads()
        torch.set_num_threads(self.config.threads or usual)
        try:
            self._run_stages(progress)
        except (KeyboardInterrupt, RunEnded) as ended:
            self.result.ended = ended
        finally:
            self.task_agent.close()
            self.judge.close()
        self.result.seconds, self.result.judge_counts = self._cost_log.seconds, self._cost_log.counts
        folder.write_json("summary.json", summary(self.result))
        if self.result.ended is None:
            self.checkpoints.prune(keep=0)
        return self.result

    def _open(self, folder: RunFolder) -> None:
        """Writes the settings, and reads back what an earlier process of the run has measured and spent."""
        config, result = {**self.config.as_json(), CONTENTS: self._contents}, self.result
        begun = folder.read_json(CONFIG) if (folder.path / CONFIG).is_file() else {}
        refuse_other_contents(begun, self._contents)
        if begun != config:
            folder.write_json(CONFIG, config)
        if (folder.path / FILE).is_file():
            found = load_eval_log(folder.path)
            result.log = EvalLog(_begun(found.header, result.log.header), found.arms)
        self._folder, self.checkpoints = folder, Checkpoints(folder)
        self._cost_log = CostLog(folder, lambda: self.judge.counts)
        spent = self._cost_log.counts
        used = Usage(spent["calls"], prompt_tokens=spent["tokens"])
        self.judge.open(folder.path, used, self._cost_log.book, (self.task_agent,))

    def _run_stages(self, progress: Progress) -> None:
        config, suite = self.config, self.suite
        suites = {"": suite}
        if config.extended_dialogues:
            lines = EXTENDED_LENGTH * suite.lines
            suites["_extended"] = replace(
                suite, dialogues=config.extended_dialogues, lines=lines, questions_every=max(1, lines // _QUESTIONS)
            )
        for name, one in suites.items():
            self._evaluate(f"before{name}", config.simulator, self.simulator, one, progress)
        trained = self._train(progress)
        for name, one in suites.items():
            self._evaluate(f"after{name}", "model", trained, one, progress)
        self._evaluate("train_personas", "model", trained, replace(suite, split="train"), progress)
        if are_readable(self._personas):  # the embedded world has a drift-free speaker
            self._evaluate("drift_free", "scripted", load_speaker("scripted"), suite, progress)

    def _evaluate(self, stage: str, spec: str, speaker: Speaker, suite: EvalSuite, progress: Progress) -> None:
        """Plays and judges the dialogues of a stage, unless they stand in the log: only sound ones come there."""
        total = suite.dialogues * (suite.lines + suite.lines // suite.questions_every)
        tick = counter(progress, stage, total)
        arm = self.result.log.arm(stage)
        if arm is None:
            for one in (speaker, self.task_agent):
                one.reset_cache()  # a cache would make a resumed run differ in the last bits
            with self.judge.stage():
                arm = run_arm(speaker, suite, self.judge, name=stage, spec=spec, tick=tick, task_agent=self.task_agent)
                self.result.verdicts_not_kept = scores(arm, self.result.log.header.metrics).counts
                check_invalid(f"the stage {stage!r}", self.config.most_invalid, self.result.verdicts_not_kept)
                self.result.verdicts_not_kept = VerdictCounts()
            log = self.result.log.with_arm(arm)
            with self._folder.writing(FILE):
                save_eval_log(self._folder.path / FILE, log)
            self.result.log = log
            self._cost_log.note(stage)
        progress(stage, total, total)

    def _train(self, progress: Progress) -> Speaker:
        from persona_env.runs.training import Training

        training = Training(
            self.config,
            folder=self._folder,
            checkpoints=self.checkpoints,
            cost_log=self._cost_log,
            progress=lambda tokens: progress("training", tokens, self.config.tokens),
            settle=self.judge.settle,
        )
        self.task_agent.reset_cache()
        try:
            with self.judge.stage():
                return training.fit(self.simulator, self.envs)
        finally:
            self.result.tokens = training.tokens
            self.result.verdicts_in_training = training.verdicts


def is_complete(folder: RunFolder) -> bool:
    """Returns whether nothing of a run is left to do; what only a resumed run would need is removed then."""
    if not all((folder.path / name).is_file() for name in ("summary.json", FILE)):
        return False
    if folder.read_json("summary.json").get("status") != "complete":
        return False
    Checkpoints(folder).prune(keep=0)
    return True


def _begun(was: Header, now: Header) -> Header:
    """Returns the header of a run that goes on: what was true when it began, with the settings of now.

    Its judge is calibrated if it was, or was found so since.
    """
    is_calibrated = was.judge.is_calibrated or now.judge.is_calibrated
    return replace(was, judge=replace(was.judge, is_calibrated=is_calibrated), config=now.config)


def _suite(config: RunConfig) -> EvalSuite:
    """Returns what is evaluated before and after: all our metrics, and those that are rewarded."""
    shared = {name: value for name, value in config.as_json().items() if name in settings_of(EvalSuite)}
    metrics = tuple(dict.fromkeys([*METRICS.builtins, *config.rewards]))
    every = max(1, config.lines // _QUESTIONS)
    return EvalSuite(**shared, questions_every=every, max_tokens=config.max_tokens, metrics=metrics)
