"""A stable-baselines3 on-policy training as a run sees it: its figures per rollout and its exact state."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorWrapper
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from torch import Tensor

from persona_env.algorithms.base import Learner, Run
from persona_env.errors import InputError
from persona_env.judges.base import VerdictCounts
from persona_env.metrics.rewards import RewardStats
from persona_env.speakers.local import LanguageModel

__all__ = ["OnPolicyLearner"]

_PREFIX = "consistency/"
_OPTIMIZER = "optimizer."


class OnPolicyLearner(Learner):
    """PPO or A2C between two rollouts, where the buffer is empty and nothing is cached.

    A cached and a fresh forward differ in the last bits, so the caches are dropped at each boundary, in an unbroken
    run as in a resumed one.
    """

    def __init__(self, algorithm: OnPolicyAlgorithm):
        self.algorithm = algorithm
        self.policy: Any = algorithm.policy
        self.envs: Any = algorithm.env

    @property
    def tokens(self) -> int:
        """Tokens that the simulator has sampled for training so far."""
        return self.algorithm.num_timesteps

    def train(self, run: Run, max_tokens: int) -> LanguageModel:
        """Trains to the end of the run, from wherever its last checkpoint is, and returns the model."""
        rollout = self.algorithm.n_steps * self.algorithm.n_envs
        total = math.ceil(run.wanted / rollout) * rollout
        resumed = run.resume(self)
        if self.tokens < total:
            self.algorithm.learn(total - self.tokens, _Reporter(self, run), reset_num_timesteps=not resumed)
            run.finish(self)
        bare = self.policy.lm.get_base_model() if self.policy.lora is not None else self.policy.lm
        return LanguageModel(bare, self.policy.tokenizer, self.policy.chat, max_tokens=max_tokens)

    def save_pretrained(self, folder: Path) -> None:
        """Saves the model and the value head."""
        self.policy.save_pretrained(folder)

    def state(self) -> dict[str, Any]:
        """Returns the counters, the environments' episodes and the optimizer's settings."""
        return {
            "tokens": self.tokens,
            "updates": self.algorithm._n_updates,  # type: ignore[attr-defined]  # each on-policy algorithm counts them
            "left": self.algorithm._current_progress_remaining,
            "starts": np.asarray(self.algorithm._last_episode_starts),
            "episodes": self.envs.envs.unwrapped.snapshot(),
            "optimizer": self.policy.optimizer.state_dict()["param_groups"],
        }

    def tensors(self) -> dict[str, Tensor]:
        """Returns what is trained, the value head and the optimizer's moments."""
        tensors = {name: weight.detach() for name, weight in self._weights().items()}
        for number, entries in self.policy.optimizer.state_dict()["state"].items():
            for name, entry in entries.items():
                tensors[f"{_OPTIMIZER}{number}.{name}"] = torch.as_tensor(entry)
        return tensors

    def load(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Goes back to a state; random generators, which this draws from, are the caller's to restore after it."""
        self._load_weights({name: tensor for name, tensor in tensors.items() if not name.startswith(_OPTIMIZER)})
        moments: dict[int, dict[str, Tensor]] = {}
        for name in filter(lambda name: name.startswith(_OPTIMIZER), tensors):
            number, _, entry = name.removeprefix(_OPTIMIZER).partition(".")
            moments.setdefault(int(number), {})[entry] = tensors[name]
        groups = [{**group, "params": list(group["params"])} for group in state["optimizer"]]
        self.policy.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self.envs.reset()  # the reward wrappers add their probes to the schedule
        algorithm: Any = self.algorithm
        algorithm._last_obs = self.envs.restore(state["episodes"])
        algorithm._last_episode_starts = np.asarray(state["starts"], np.bool_)
        algorithm.num_timesteps, algorithm._n_updates = state["tokens"], state["updates"]
        algorithm._current_progress_remaining = state["left"]

    def _load_weights(self, found: Mapping[str, Tensor]) -> None:
        weights = self._weights()
        if found.keys() != weights.keys() or any(found[name].shape != weights[name].shape for name in weights):
            odd = min(found.keys() ^ weights.keys(), default="another shape")
            raise InputError(
                f"Expected a checkpoint of this simulator, got one of another ({odd}): give the model it began with."
            )
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(found[name])

    def _weights(self) -> dict[str, Tensor]:
        """What training changes, by name; weights that are tied occur once."""
        trained = {name: weight for name, weight in self.policy.named_parameters() if weight.requires_grad}
        head = self.policy.value_head.state_dict(keep_vars=True)
        return trained | {f"value_head.{name}": weight for name, weight in head.items()}


class _Reporter(BaseCallback):
    """Logs each rollout to the run and tells it where the learner's state is whole.

    A record holds `tokens`, the mean of each `consistency/<name>` over the lines (or answers) with a verdict that
    decides, the counts of the reward wrappers' verdicts, and `kl_to_reference` where there is a reference model.
    Nothing in it depends on the clock.
    """

    def __init__(self, learner: OnPolicyLearner, run: Run):
        super().__init__()
        self._learner, self._run = learner, run
        self._values: dict[str, list[float]] = defaultdict(list)
        self._before = VerdictCounts()

    def _on_rollout_start(self) -> None:
        self._before = _counts_of(self._learner.envs.envs)
        self._learner.policy.reset_cache()
        self._learner.envs.envs.unwrapped.task_agent.reset_cache()
        self._run.enter_boundary(self._learner)

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            for name, value in info.items():
                if name.startswith(_PREFIX):
                    self._values[name.removeprefix(_PREFIX)].append(float(value))
        return True

    def _on_rollout_end(self) -> None:
        record: dict[str, Any] = {"tokens": self._learner.tokens}
        for name, values in sorted(self._values.items()):
            known = [value for value in values if not math.isnan(value)]
            record[name] = sum(known) / len(known) if known else None
        self._values.clear()
        kl = self.locals["rollout_buffer"].kl_to_reference() if self._learner.policy.reference is not None else None
        counts = _counts_of(self._learner.envs.envs) - self._before
        self._run.log(record | asdict(counts) | {"kl_to_reference": kl})
        self._run.leave_boundary()


def _counts_of(envs: Any) -> VerdictCounts:
    """Returns the counts of all reward wrappers around vector environments."""
    counts = VerdictCounts()
    while isinstance(envs, VectorWrapper):
        counts += envs.counts if isinstance(envs, RewardStats) else VerdictCounts()
        envs = envs.env
    return counts
