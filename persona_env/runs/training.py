"""Training in a run folder: figures, checkpoints at boundaries, and going on from the last one as if unbroken."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import load_env_creator
from gymnasium.vector import VectorEnv
from safetensors.torch import load_file, save_file

from persona_env.algorithms import Learner, Run
from persona_env.errors import RunEnded
from persona_env.judges.base import JudgeLike, VerdictCounts
from persona_env.runs.checkpoint import Checkpoints
from persona_env.runs.config import RunConfig
from persona_env.runs.costs import CostLog, check_invalid
from persona_env.runs.run_folder import RunFolder
from persona_env.runs.training_state import random_state, read_state, reading_checkpoint, set_random_state, write_state
from persona_env.speakers import Speaker
from persona_env.speakers.local import LanguageModel

__all__ = ["Training", "training_envs"]

_METRICS = "metrics.jsonl"


def training_envs(
    config: RunConfig, judge: JudgeLike | None = None, task_agent: Speaker | None = None
) -> VectorEnv[Any, Any, Any]:
    """Returns the training dialogues of a run, one action a token, with all rewards in one judge batch a step.

    Without a judge or a task agent, those that the run names are loaded.
    """
    envs = gym.make_vec(
        "persona_env/DialogueTokens-v0",
        role=config.role,
        num_envs=config.envs,
        simulator=config.simulator,
        personas=config.personas,
        split="train",
        task_agent=task_agent or config.task_agent,
        max_lines=config.lines,
        max_tokens=config.max_tokens,
    )
    rewards: Any = load_env_creator("persona_wrappers.vector:ConsistencyRewards")
    return rewards(envs, weights=dict(config.rewards), judge=judge or config.judge)


def _counts_in(record: Mapping[str, Any]) -> VerdictCounts:
    judged, undecided, invalid = (record.get(name, 0) for name in ("judged", "undecided", "invalid"))
    return VerdictCounts(judged, undecided, invalid, record.get("asked", judged + undecided + invalid))


class Training(Run):
    """The training of a run: writes its figures, its checkpoints and its model.

    `progress` is told the tokens; `settle` is called after each batch of experience whose verdicts are sound.
    """

    def __init__(
        self,
        config: RunConfig,
        *,
        folder: RunFolder,
        checkpoints: Checkpoints,
        cost_log: CostLog,
        progress: Callable[[int], None] = lambda tokens: None,
        settle: Callable[[], object] = lambda: None,
    ):
        super().__init__(config.tokens, config.seed)
        self.config, self.folder, self.checkpoints, self.cost_log = config, folder, checkpoints, cost_log
        self.verdicts = VerdictCounts()
        self._progress, self._settle, self._logged = progress, settle, 0
        self._learner: Learner | None = None
        self._boundary: dict[str, Any] | None = None
        self._boundaries = self._written = 0

    @property
    def tokens(self) -> int:
        """The tokens trained on so far."""
        return self._learner.tokens if self._learner else self._logged

    def fit(self, model: LanguageModel, envs: VectorEnv[Any, Any, Any]) -> LanguageModel:
        """Trains to the end, from wherever the folder's last whole checkpoint is, and writes the model.

        A KeyboardInterrupt or RunEnded comes out of it with the state of the last boundary, and the model, on disk.
        """
        try:
            model = self.config.algorithm.fit(model, envs, self)
            check_invalid("training", self.config.most_invalid, self.verdicts)
        except (KeyboardInterrupt, RunEnded):
            self._write_boundary()
            self._write_model(model)
            raise
        self._write_model(model)
        return model

    def _write_model(self, model: LanguageModel) -> None:
        self.folder.write_folder("model", (self._learner or model).save_pretrained)
        self.cost_log.note("training")

    def log(self, record: Mapping[str, Any]) -> None:
        """Adds a line to the metrics; see `Run.log`."""
        self.folder.append_line(_METRICS, record)
        self._logged = record["tokens"]
        self.cost_log.note("training", tokens=self._logged)
        self._progress(self._logged)
        of_batch = _counts_in(record)
        self.verdicts += of_batch
        for counts in (of_batch, self.verdicts):  # a judge that breaks late spoils one batch, not a share of them all
            check_invalid("training", self.config.most_invalid, counts, ended=False)
        self._settle()

    def resume(self, learner: Learner) -> bool:
        """Goes back to the last whole checkpoint; returns whether there is one."""
        self._learner = learner
        found = self.checkpoints.newest()
        if found is None:
            self.folder.cut(_METRICS, 0)
        else:
            self._restore(learner, found)
        self._written = learner.tokens
        self._progress(learner.tokens)
        return found is not None

    def _restore(self, learner: Learner, checkpoint: Path) -> None:
        with reading_checkpoint():
            state = json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))
            self.verdicts = VerdictCounts(**state["verdicts"])
            self._boundaries = int(state["boundaries"])
            learner.load(read_state(state["learner"]), load_file(checkpoint / "tensors.safetensors"))
            self.folder.cut(_METRICS, int(state["metrics"]))
            set_random_state(state["random"])  # last, as all before may draw from the generators

    def enter_boundary(self, learner: Learner) -> None:
        """Keeps the state, which is cheap, and writes it with the tensors at every so many boundaries.

        Until `leave_boundary` the tensors stay as they are, so a run that ends before can still write it.
        """
        self._boundary = self._state(learner)
        if self._boundaries % self.config.checkpoint_every == 0:
            self._write_boundary()
        self._boundaries += 1

    def leave_boundary(self) -> None:
        """From here on the tensors change."""
        self._boundary = None

    def finish(self, learner: Learner) -> None:
        """Writes the last checkpoint."""
        self._boundary = self._state(learner)
        self._write_boundary()

    def _state(self, learner: Learner) -> dict[str, Any]:
        return {
            "tokens": learner.tokens,
            "boundaries": self._boundaries,
            "learner": write_state(learner.state()),
            "metrics": self.folder.size(_METRICS),
            "verdicts": asdict(self.verdicts),
            "random": random_state(),
        }

    def _write_boundary(self) -> None:
        """Writes the last boundary, if its tensors are still there and it is not on disk already."""
        state, learner = self._boundary, self._learner
        if state is None or learner is None or state["tokens"] == self._written:
            return

        def fill(path: Path) -> None:
            save_file({name: t.contiguous() for name, t in learner.tensors().items()}, path / "tensors.safetensors")
            (path / "state.json").write_text(json.dumps(state), encoding="utf-8")

        self.checkpoints.write(state["tokens"], fill)
        self._written = state["tokens"]
