"""The rollout buffer: each trajectory once, credit by line, and the leash in the reward."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.type_aliases import RolloutBufferSamples
from torch import Tensor

from persona_env.errors import InputError
from persona_env.rl.advantages import RolloutArrays, center_rewards, line_advantages
from persona_env.rl.trajectories import Packed, Trajectories, TrajectoryRecorder
from persona_env.sb3.kl import announce

if TYPE_CHECKING:
    from persona_env.sb3.policy import TokenPolicy

__all__ = ["TrajectoryRolloutBuffer"]

KL_COEF = 0.03
_KL_BATCH = 4096
_KL_SAMPLE = 512
_SLICE = {"cpu": 2048, "accelerator": 32_768}  # tokens of a forward pass: what a CPU's cache holds


class TrajectoryRolloutBuffer(RolloutBuffer):
    """A `RolloutBuffer` for token contexts, to be given as `rollout_buffer_class`.

    It keeps each trajectory once (stable-baselines3 would keep a whole context for each token) and yields
    whole trajectories, of about `batch_size` of the learner's tokens together, so that one forward pass
    serves them all. The algorithm's `gamma` and `gae_lambda` are per token and are not used.

    Args:
        buffer_size: RolloutArrays in a rollout, T.
        observation_space: A `TokenContext`.
        action_space: `Discrete`, the vocabulary.
        device: Where the samples go.
        gae_lambda: Not used: `line_lambda` is.
        gamma: The algorithm's, by which it weighs the estimate after a dialogue that was cut off.
        n_envs: Rows, N.
        line_gamma: Discount from a line to the next of the same dialogue, in [0, 1].
        line_lambda: Decay of the trace from a line to the next, in [0, 1].
        centre: Whether lines are credited with what they bring beyond the mean line; see `center_rewards`.
        kl_coef: What a nat of log pi - log ref of a sampled token costs, in reward units. None: 0.03
            where the policy has a reference and `leash` is "reward", else 0.
        leash: "reward" takes that from the rewards. "loss" puts KL(pi || ref) where the algorithm has
            its entropy: its weight is then `ent_coef`, and it needs `normalize_advantage=False`.

    Raises:
        ValueError: If the settings or the spaces do not fit, or a leash has no reference to hold to.
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
        centre: bool = False,
        kl_coef: float | None = None,
        leash: Literal["reward", "loss"] = "reward",
    ):
        pad_id = getattr(observation_space, "pad_id", None)
        if pad_id is None or not isinstance(action_space, spaces.Discrete):
            raise InputError(
                f"Expected a TokenContext and a Discrete space, got {observation_space} and "
                f"{action_space}: use a token environment such as persona_env/PatientTokens-v0."
            )
        _check_settings(line_gamma, line_lambda, kl_coef, leash)
        self.pad_id: int = pad_id
        self.line_gamma, self.line_lambda, self.centre = line_gamma, line_lambda, centre
        self.kl_coef, self.leash = kl_coef, leash
        self.policy: TokenPolicy | None = None
        super().__init__(buffer_size, observation_space, action_space, device, gae_lambda, gamma, n_envs)
        announce(observation_space, self)

    def meet(self, policy: TokenPolicy) -> None:
        """Takes note of the policy whose rollouts these are; called when the algorithm is made.

        Raises:
            ValueError: If there is a leash and the policy has no reference.
        """
        self.policy = policy
        leashed = self.leash == "loss" or bool(self.kl_coef)
        if leashed and policy.reference is None:
            raise InputError(
                f"Expected a reference for leash={self.leash!r}, kl_coef={self.kl_coef}, got none: "
                "give policy_kwargs=dict(reference='initial')."
            )

    def reset(self) -> None:
        """Makes ready for the next rollout; the critic takes up the level of the last one's returns.

        That waits until here, so that the update sees the estimates that the rollout had.
        """
        if self.policy is not None and getattr(self, "trajectories", None) is not None:
            self.policy.value_head.follow(float((self.returns - self.values).mean()))
        shape = (self.buffer_size, self.n_envs)
        self.actions = np.zeros((*shape, self.action_dim), np.int64)
        for name in ("rewards", "returns", "episode_starts", "values", "log_probs", "advantages"):
            setattr(self, name, np.zeros(shape, np.float32))
        self.outside = np.zeros(shape, np.float32)
        self.answers, self.unfinished = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
        context = self.observation_space.shape
        assert context is not None
        self.recorder = TrajectoryRecorder(*shape, context[0], self.pad_id)
        self.trajectories: Trajectories | None = None
        self._log_ratio: NDArray[np.float32] | None = None
        self._latest: Any = None
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
        """Records one step of all rows.

        Args:
            obs: (N, context) the contexts; a `TokenObservation` tells which rows are asked a side question.
            action: (N,) or (N, 1) the chosen tokens.
            reward: (N,) what was paid for them.
            episode_start: (N,) whether the context begins a dialogue.
            value: (N, 1) the critic's estimate.
            log_prob: (N,) of the chosen tokens.
        """
        step, anew = self.pos, np.asarray(episode_start, np.bool_)
        self.recorder.add(np.asarray(obs), anew)
        probing = getattr(obs, "probing", None)
        if probing is not None:
            self.answers[step] = probing
        self._check_cut(step, anew)
        self.actions[step] = np.asarray(action).reshape(self.n_envs, self.action_dim)
        self.rewards[step], self.episode_starts[step] = reward, anew
        self.values[step] = value.detach().cpu().numpy().reshape(-1)
        self.log_probs[step] = log_prob.detach().cpu().numpy().reshape(-1)
        if getattr(obs, "cut_off", None):
            self._move_bootstrap(step, obs.cut_off)  # type: ignore[attr-defined]
        self._latest = obs
        self.pos += 1
        self.full = self.pos == self.buffer_size

    def _move_bootstrap(self, step: int, cut_off: Mapping[int, NDArray[np.int32]]) -> None:
        """Takes the estimate after a truncated dialogue out of the reward.

        The algorithm has added it there, with its own discount. Credit by line needs it apart.
        """
        if self.policy is None:
            return
        rows, contexts = list(cut_off), np.stack(list(cut_off.values()))
        with torch.no_grad():
            values = self.policy.predict_values(self.to_torch(contexts))
        self.outside[step, rows] = values.cpu().numpy().reshape(-1)
        self.rewards[step, rows] -= self.gamma * self.outside[step, rows]
        length = (contexts != self.pad_id).sum(1)
        self.unfinished[step, rows] = length == self.recorder.stop[step, rows].astype(np.int64) + 1

    def _check_cut(self, step: int, anew: NDArray[np.bool_]) -> None:
        if step and (~(self.recorder.grown[step] | anew | self.answers[step - 1])).any():
            raise InputError(
                "Expected contexts that grow, are cut back after a side question or start anew, got "
                "another change: wrap the environment in as_sb3, which tells of its questions."
            )

    def compute_returns_and_advantage(self, last_values: Tensor, dones: NDArray[np.bool_]) -> None:
        """RewardStats the leash and gives credit by line; see `line_advantages`."""
        dones = np.asarray(dones, np.bool_)
        after, self._latest = getattr(self._latest, "following", None), None
        next_answer = np.zeros_like(dones) if after is None or after.probing is None else after.probing
        line_ends = self.recorder.line_ends(None if after is None else np.asarray(after), dones)
        self.trajectories = self.recorder.finish()
        if self.reward_weight:
            self.rewards -= self.reward_weight * self.log_ratio()
        steps = RolloutArrays(
            rewards=self.rewards,
            values=self.values,
            answer=self.answers,
            last_of_line=line_ends & ~self.unfinished,
            last_of_dialogue=np.append(self.episode_starts[1:] > 0, dones[None], axis=0),
            next_values=last_values.detach().cpu().numpy().reshape(-1),
            next_answer=next_answer & ~dones,
            outside=self.outside,
        )
        steps = center_rewards(steps) if self.centre else steps
        self.advantages = line_advantages(steps, self.line_gamma, self.line_lambda)
        self.returns = self.advantages + self.values

    @property
    def reward_weight(self) -> float:
        """What a nat costs in this rollout's rewards."""
        if self.leash == "loss" or self.policy is None or self.policy.reference is None:
            return 0.0
        return KL_COEF if self.kl_coef is None else self.kl_coef

    def log_ratio(self) -> NDArray[np.float32]:
        """Returns log pi - log ref of each sampled token, (T, N); one packed pass of the frozen reference.

        Raises:
            ValueError: If the policy has no reference.
        """
        if self._log_ratio is None:
            ratio = np.zeros(self.log_probs.size, np.float32)
            for packed in self._batches(_KL_BATCH):
                ratio[packed.step] = self._log_ratio_of(packed)
            self._log_ratio = ratio.reshape(self.log_probs.shape)
        return self._log_ratio

    def _log_ratio_of(self, packed: Packed) -> NDArray[np.float32]:
        if self.policy is None or self.policy.reference is None:
            raise InputError(
                "Expected a policy with a reference, got none: give policy_kwargs=dict(reference='initial')."
            )
        actions = self.to_torch(self.actions.reshape(-1)[packed.step])
        scored = self.policy.reference_log_probs(self._observations(packed), actions)
        return self.log_probs.reshape(-1)[packed.step] - scored.cpu().numpy()

    def kl_to_reference(self) -> float:
        """Returns an unbiased estimate of KL(pi || ref), in nats per token: the mean of the log-ratio.

        Of all sampled tokens where the leash is in the reward and has scored them, else of some trajectories.
        """
        if self._log_ratio is not None:
            return float(self._log_ratio.mean())
        return float(self._log_ratio_of(next(self._batches(_KL_SAMPLE))).mean())

    def get(self, batch_size: int | None = None) -> Generator[RolloutBufferSamples, None, None]:
        """Yields whole trajectories in random order, packed, of about `batch_size` choices together.

        The observations are a dict: `input_ids` (S, L), `row` (A,) and `position` (A,) of each choice,
        `slices`, the rows that are run together, and `branches` (3, S, L) where segments of a dialogue
        share a row.
        """
        for packed in self._batches(batch_size or self.buffer_size * self.n_envs):
            yield self._samples(packed)

    def _batches(self, size: int) -> Iterator[Packed]:
        if self.trajectories is None:
            raise InputError("Expected a full rollout, got an unfinished one: collect it first.")
        most = _SLICE["cpu" if self.device.type == "cpu" else "accelerator"]
        shared = self.policy is not None and self.policy.reads_branches
        for segments in self.trajectories.batches(size):
            yield self.trajectories.packed(segments, most, shared=shared)

    def _samples(self, packed: Packed) -> RolloutBufferSamples:
        def choices(array: NDArray[Any]) -> Tensor:
            return self.to_torch(array.reshape(-1)[packed.step], copy=False)

        observations, advantages = self._observations(packed), choices(self.advantages)
        if self.leash == "loss":
            observations["advantages"] = advantages
        return RolloutBufferSamples(
            observations,  # type: ignore[arg-type]  # stable-baselines3 hands it on as it is
            choices(self.actions)[:, None],
            choices(self.values),
            choices(self.log_probs),
            advantages,
            choices(self.returns),
        )

    def _observations(self, packed: Packed) -> dict[str, Any]:
        names = ("input_ids", "row", "position")
        found: dict[str, Any] = {name: self.to_torch(getattr(packed, name), copy=False) for name in names}
        if packed.branches is not None:
            found["branches"] = self.to_torch(packed.branches, copy=False)
        return found | {"slices": packed.slices}


def _check_settings(line_gamma: float, line_lambda: float, kl_coef: float | None, leash: str) -> None:
    for name, value in (("line_gamma", line_gamma), ("line_lambda", line_lambda)):
        if not 0 <= value <= 1:
            raise InputError(f"Expected {name} in [0, 1], got {value}: give a share.")
    if leash not in ("reward", "loss"):
        raise InputError(f"Expected leash 'reward' or 'loss', got {leash!r}: choose one of these.")
    if kl_coef is not None and not kl_coef >= 0:
        raise InputError(f"Expected kl_coef >= 0, got {kl_coef}: give the price of a nat.")
    if leash == "loss" and kl_coef:
        raise InputError(f"Expected no kl_coef with leash='loss', got {kl_coef}: its weight is ent_coef.")
