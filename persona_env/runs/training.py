"""Training in a run folder: checkpoints at rollout boundaries, and going on from the last one as if unbroken."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from persona_env.runs.checkpoint import ROLLOUT, Checkpoints
from persona_env.runs.metrics_callback import MetricsCallback
from persona_env.runs.training_state import (
    as_written,
    forget_what_was_read,
    load_tensors,
    restore_training_state,
    save_tensors,
    training_state,
)
from persona_env.runs.cost_log import CostLog
from persona_env.algorithms.loops import make_learner
from persona_env.runs.run_folder import RunFolder
from persona_env.runs.config import RunConfig
from persona_env.runs.invalid_rate import InvalidRate
from persona_env.errors import RunEnded

__all__ = ["Training"]

_METRICS = "metrics.jsonl"


class Training:
    """One learner and its way through the rollouts of a run.

    Args:
        settings: The run.
        envs: Its dialogues, as stable-baselines3 takes them.
        simulator: The model as it was before any training.
        folder: Where metrics, checkpoints and the model go.
        checkpoints: Those of the folder.
        cost_log: Where its cost is noted.
    """

    def __init__(
        self,
        settings: RunConfig,
        envs: VecEnv,
        simulator: Any,
        *,
        folder: RunFolder,
        checkpoints: Checkpoints,
        cost_log: CostLog,
    ):
        self.settings, self.folder, self.checkpoints, self.cost_log = settings, folder, checkpoints, cost_log
        self.learner = make_learner(envs, settings, simulator)
        self.invalid_rate = InvalidRate("training", settings.max_invalid)
        self.total = settings.rollouts * settings.envs * settings.steps

    @property
    def tokens(self) -> int:
        """The learner's tokens so far."""
        return self.learner.num_timesteps

    def run(self, tick: Callable[[int], None]) -> None:
        """Trains to the end, from wherever the folder's last whole checkpoint is.

        Raises:
            KeyboardInterrupt: With the state of the last boundary, and the model, on disk.
            RunEnded: Likewise.
        """
        begun = self._restore()
        tick(self.tokens)
        boundaries = _Boundaries(self, written=self.tokens)
        try:
            if self.tokens < self.total:
                journal = MetricsCallback(self._write, tick, self.invalid_rate)
                self.learner.learn(self.total - self.tokens, [journal, boundaries], reset_num_timesteps=not begun)
                self.save(self.course())
            self.invalid_rate.close()
        except (KeyboardInterrupt, RunEnded):
            boundaries.save_latest()
            self.cost_log.note("training")
            self._save_model()
            raise
        self._save_model()
        self.cost_log.note("training")

    def _save_model(self) -> None:
        policy: Any = self.learner.policy
        self.folder.write_folder("model", policy.save_pretrained)

    def _write(self, record: Mapping[str, Any]) -> None:
        self.folder.append_line(_METRICS, record)
        self.cost_log.note("training", tokens=record["tokens"])

    def _restore(self) -> bool:
        """Goes back to the last whole checkpoint; returns whether there is one."""
        found = self.checkpoints.newest(ROLLOUT)
        if found is None:
            self.folder.cut(_METRICS, 0)
            return False
        state = json.loads((found / "state.json").read_text(encoding="utf-8"))
        with as_written():
            optimiser, course, metrics = (state[key] for key in ("optimiser", "course", "metrics"))
            self.invalid_rate.judged, self.invalid_rate.invalid = int(state["judged"]), int(state["invalid"])
            metrics = int(metrics)
        load_tensors(self.learner, found / "tensors.safetensors", optimiser)
        self.folder.cut(_METRICS, metrics)
        restore_training_state(self.learner, course)
        return True

    def course(self) -> dict[str, Any]:
        """Returns all of the state but the tensors."""
        return {
            "course": training_state(self.learner),
            "metrics": self.folder.size(_METRICS),
            "judged": self.invalid_rate.judged,
            "invalid": self.invalid_rate.invalid,
        }

    def save(self, state: Mapping[str, Any]) -> None:
        """Writes a checkpoint: this state, and the tensors as they are now."""

        def fill(path: Path) -> None:
            optimiser = save_tensors(self.learner, path / "tensors.safetensors")
            text = json.dumps({**state, "optimiser": optimiser})
            (path / "state.json").write_text(text, encoding="utf-8")

        self.checkpoints.write(f"{ROLLOUT}{state['course']['tokens']:012d}", fill)
        self.checkpoints.prune(ROLLOUT)


class _Boundaries(BaseCallback):
    """Knows the state at the last rollout boundary and writes every so many of them.

    In a rollout the tensors stay as they are, so a run that ends there can still write its beginning.
    """

    def __init__(self, training: Training, written: int):
        super().__init__()
        self._training, self._written = training, written
        self._latest: dict[str, Any] | None = None

    def _on_rollout_start(self) -> None:
        self._latest = None
        forget_what_was_read(self._training.learner)
        self._latest = self._training.course()
        settings, tokens = self._training.settings, self._training.tokens
        if tokens // (settings.envs * settings.steps) % settings.checkpoint_every == 0:
            self.save_latest()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self._latest = None  # from here on the tensors change

    def save_latest(self) -> None:
        """Writes the last boundary, if its tensors are still there and it is not on disk already."""
        if self._latest is not None and self._latest["course"]["tokens"] != self._written:
            self._training.save(self._latest)
            self._written = self._latest["course"]["tokens"]
