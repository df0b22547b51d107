"""The rollout buffer: each trajectory stored once, turn-level GAE, and the KL penalty."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import Any, Literal

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.type_aliases import RolloutBufferSamples
from torch import Tensor

from persona_env.errors import InputError
from persona_env.rl.advantages import RolloutArrays, center_rewards, line_advantages
from persona_env.rl.packed_forward import ChoicePositions
from persona_env.rl.trajectories import Packed, Trajectories, TrajectoryRecorder
from persona_env.sb3.policy import TokenPolicy
from persona_env.sb3.token_observation import StepInfo, TokenObservation
from persona_env.spaces import TokenContext

__all__ = ["TrajectoryRolloutBuffer"]

_KL_COEF, _KL_BATCH, _KL_SAMPLE = 0.03, 4096, 512
_SLICE, _SLICE_ON_CPU = 32_768, 2048  # tokens of a forward pass: what a CPU's cache holds


class TrajectoryRolloutBuffer(RolloutBuffer):
    """A `RolloutBuffer` for token contexts, to be given as `rollout_buffer_class`.

    It stores each trajectory once (stable-baselines3 would store a whole context for each token) and yields whole
    trajectories, of about `batch_size` of the learner's tokens together, so that one forward pass scores them all.
    Advantages are turn-level GAE: the algorithm's `gamma` and `gae_lambda` are per token and are not used for them.

    stable-baselines3 makes the buffer, then the policy, and tells neither of the other. Both get the observation
    space: the buffer puts itself there, and the policy takes it from there and calls `bind`.

    Args:
        line_gamma: Discount from a line to the next of the same dialogue, in [0, 1].
        line_lambda: Decay of the trace from a line to the next, in [0, 1].
        reward_centering: Whether the mean reward of a line is subtracted from each line; see `center_rewards`.
        kl_coef: Coefficient of log pi - log ref of each sampled token, in reward per nat. None: 0.03 where the
            policy has a reference and `kl_in` is "reward", else 0.
        kl_in: "reward" subtracts that from the rewards. "loss" puts KL(pi || ref) in place of the algorithm's
            entropy: its coefficient is then `ent_coef`, and it needs `normalize_advantage=False`; `KLCallback`
            checks both.

    Raises:
        InputError: If the settings or the spaces do not fit, or a KL penalty has no reference model.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: torch.device | str = "auto",
        gae_lambda: float = 1,
        gamma: float = 0.99,
        n_envs: int = 1,
        *,
        line_gamma: float = 0.5,
        line_lambda: float = 0.8,
        reward_centering: bool = False,
        kl_coef: float | None = None,
        kl_in: Literal["reward", "loss"] = "reward",
    ):
        if not isinstance(observation_space, TokenContext) or not isinstance(action_space, spaces.Discrete):
            raise InputError(
                f"Expected a TokenContext and a Discrete space, got {observation_space} and "
                f"{action_space}: use a token environment such as persona_env/PatientTokens-v0."
            )
        _check_settings(line_gamma, line_lambda, kl_coef, kl_in)
        self.context, self.pad_id = observation_space.context, observation_space.pad_id
        self.line_gamma, self.line_lambda, self.reward_centering = line_gamma, line_lambda, reward_centering
        self.kl_coef, self.kl_in = kl_coef, kl_in
        self.bootstrap_values: NDArray[np.float32]
        self.trajectories: Trajectories | None = None
        self.policy: TokenPolicy | None = None
        observation_space.rollout_link = self
        super().__init__(buffer_size, observation_space, action_space, device, gae_lambda, gamma, n_envs)

    def bind(self, policy: TokenPolicy) -> None:
        """Sets the policy whose rollouts these are; raises InputError if a KL penalty has no reference there."""
        if (self.kl_in == "loss" or self.kl_coef) and policy.reference is None:
            raise InputError(
                f"Expected a reference for kl_in={self.kl_in!r}, kl_coef={self.kl_coef}, got none: "
                "give policy_kwargs=dict(reference='initial')."
            )
        self.policy = policy

    def reset(self) -> None:
        """Prepares the next rollout; only now the critic's level may move to the mean of the last one's returns."""
        if self.policy is not None and self.trajectories is not None:
            self.policy.value_head.follow(float((self.returns - self.values).mean()))
        shape = (self.buffer_size, self.n_envs)
        self.actions = np.zeros((*shape, self.action_dim), np.int64)
        for name in ("rewards", "returns", "episode_starts", "values", "log_probs", "advantages", "bootstrap_values"):
            setattr(self, name, np.zeros(shape, np.float32))
        self.answers, self.unfinished = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
        self.recorder = TrajectoryRecorder(*shape, self.context, self.pad_id)
        self.trajectories = None
        self._log_ratio: NDArray[np.float32] | None = None
        self._latest = StepInfo()
        self.generator_ready = False
        self.pos, self.full = 0, False

    def add(
        self,
        obs: NDArray[Any],
        action: NDArray[Any],
        reward: NDArray[Any],
        episode_start: NDArray[Any],
        value: Tensor,
        log_prob: Tensor,
    ) -> None:
        """Records one step of all rows; see `RolloutBuffer.add`. A `TokenObservation` tells who answers a probe."""
        step, begins = self.pos, np.asarray(episode_start, np.bool_)
        info = obs.info if isinstance(obs, TokenObservation) else StepInfo()
        self.recorder.add(np.asarray(obs), begins)
        if info.probing is not None:
            self.answers[step] = info.probing
        if info.was_left or (step and (~(self.recorder.grown[step] | begins | self.answers[step - 1])).any()):
            raise InputError(
                "Expected contexts that grow, are cut back after a probe or start anew, got another change: wrap the "
                "environment in as_sb3, which tells of its probes, and evaluate in an environment of its own."
            )
        self.actions[step] = np.asarray(action).reshape(self.n_envs, self.action_dim)
        self.rewards[step], self.episode_starts[step] = reward, begins
        self.values[step] = value.detach().cpu().numpy().reshape(-1)
        self.log_probs[step] = log_prob.detach().cpu().numpy().reshape(-1)
        if info.cut_off:
            self._move_bootstrap(step, info.cut_off, info.line_ended)
        self._latest = info
        self.pos += 1
        self.full = self.pos == self.buffer_size

    def _move_bootstrap(self, step: int, cut_off: Mapping[int, NDArray[np.int32]], line_ended: set[int]) -> None:
        """Takes the estimate after a truncated dialogue, which the algorithm has added, out of the reward."""
        if self.policy is None:
            return
        rows, contexts = list(cut_off), np.stack(list(cut_off.values()))
        with torch.no_grad():
            values = self.policy.predict_values(self.to_torch(contexts))
        self.bootstrap_values[step, rows] = values.cpu().numpy().reshape(-1)
        self.rewards[step, rows] -= self.gamma * self.bootstrap_values[step, rows]
        length = (contexts != self.pad_id).sum(1)
        one_more = length == self.recorder.stop[step, rows].astype(np.int64) + 1
        self.unfinished[step, rows] = one_more & [row not in line_ended for row in rows]

    def compute_returns_and_advantage(self, last_values: Tensor, dones: NDArray[np.bool_]) -> None:
        """Subtracts the KL penalty from the rewards and computes turn-level advantages; see `line_advantages`."""
        dones = np.asarray(dones, np.bool_)
        latest, self._latest = self._latest, StepInfo()
        next_answer = np.zeros_like(dones) if latest.next_probing is None else latest.next_probing
        line_ends = self.recorder.line_ends(latest.next_contexts, dones)
        self.trajectories = self.recorder.finish()
        if self.reward_kl_coef:
            self.rewards -= self.reward_kl_coef * self.log_ratio()
        steps = RolloutArrays(
            rewards=self.rewards,
            values=self.values,
            answer=self.answers,
            last_of_line=line_ends & ~self.unfinished,
            last_of_dialogue=np.append(self.episode_starts[1:] > 0, dones[None], axis=0),
            next_values=last_values.detach().cpu().numpy().reshape(-1),
            next_answer=next_answer & ~dones,
            bootstrap_values=self.bootstrap_values,
        )
        steps = center_rewards(steps) if self.reward_centering else steps
        self.advantages = line_advantages(steps, self.line_gamma, self.line_lambda)
        self.returns = self.advantages + self.values

    @property
    def reward_kl_coef(self) -> float:
        """The coefficient of the KL penalty in this rollout's rewards."""
        if self.kl_in == "loss" or self.policy is None or self.policy.reference is None:
            return 0.0
        return _KL_COEF if self.kl_coef is None else self.kl_coef

    def log_ratio(self) -> NDArray[np.float32]:
        """Returns log pi - log ref of each sampled token, (T, N); one packed pass of the reference."""
        if self._log_ratio is None:
            ratio = np.zeros(self.log_probs.size, np.float32)
            for packed in self.batches(_KL_BATCH):
                ratio[packed.step] = self._log_ratio_of(packed)
            self._log_ratio = ratio.reshape(self.log_probs.shape)
        return self._log_ratio

    def _log_ratio_of(self, packed: Packed) -> NDArray[np.float32]:
        assert self.policy is not None
        actions = self.to_torch(self.actions.reshape(-1)[packed.step])
        scored = self.policy.reference_log_probs(self._positions(packed), actions)
        return self.log_probs.reshape(-1)[packed.step] - scored.cpu().numpy()

    def kl_to_reference(self) -> float:
        """Returns an unbiased estimate of KL(pi || ref), in nats per token: the mean of the log-ratio.

        Over all sampled tokens where the KL penalty is in the reward, else over some trajectories. It draws from a
        generator of its own, as logging must not change the training.
        """
        if self._log_ratio is not None:
            return float(self._log_ratio.mean())
        return float(self._log_ratio_of(next(self.batches(_KL_SAMPLE, np.random.default_rng(0)))).mean())

    def get(self, batch_size: int | None = None) -> Generator[RolloutBufferSamples, None, None]:
        """Yields whole trajectories in random order, with `ChoicePositions` as the observations; see `batches`."""
        for packed in self.batches(batch_size or self.buffer_size * self.n_envs):
            yield self.samples(packed)

    def batches(self, size: int, rng: np.random.Generator | None = None) -> Iterator[Packed]:
        """Yields the rollout's trajectories, packed, of about `size` choices together; see `Trajectories.batches`."""
        if self.trajectories is None:
            raise InputError("Expected a full rollout, got an unfinished one: collect it first.")
        most = _SLICE_ON_CPU if self.device.type == "cpu" else _SLICE
        shared = self.policy is not None and self.policy.shares_prefixes
        for segments in self.trajectories.batches(size, rng):
            yield self.trajectories.packed(segments, most, shared=shared)

    def samples(self, packed: Packed) -> RolloutBufferSamples:
        """Returns a batch of `batches` as stable-baselines3 takes it; see `get`."""

        def choices(array: NDArray[Any]) -> Tensor:
            return self.to_torch(array.reshape(-1)[packed.step], copy=False)

        return RolloutBufferSamples(
            self._positions(packed),  # type: ignore[arg-type]  # stable-baselines3 hands it on as it is
            choices(self.actions)[:, None],
            choices(self.values),
            choices(self.log_probs),
            choices(self.advantages),
            choices(self.returns),
        )

    def _positions(self, packed: Packed) -> ChoicePositions:
        parts = (packed.input_ids, packed.row, packed.position, packed.branches)
        ids, row, position, branches = (None if x is None else self.to_torch(x, copy=False) for x in parts)
        return ChoicePositions(ids, row, position, packed.slices, branches)  # type: ignore[arg-type]


def _check_settings(line_gamma: float, line_lambda: float, kl_coef: float | None, kl_in: str) -> None:
    for name, value in (("line_gamma", line_gamma), ("line_lambda", line_lambda)):
        if not 0 <= value <= 1:
            raise InputError(f"Expected {name} in [0, 1], got {value}: give a share.")
    if kl_in not in ("reward", "loss"):
        raise InputError(f"Expected kl_in 'reward' or 'loss', got {kl_in!r}: choose one of these.")
    if kl_coef is not None and not kl_coef >= 0:
        raise InputError(f"Expected kl_coef >= 0, got {kl_coef}: give reward per nat.")
    if kl_in == "loss" and kl_coef:
        raise InputError(f"Expected no kl_coef with kl_in='loss', got {kl_coef}: its coefficient is ent_coef.")
