"""The buffer: whole trajectories, each token once; advantages and KL penalty over real rollouts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from persona_env.rl.advantages import RolloutArrays, line_advantages
from persona_env.sb3 import TokenObservation, TrajectoryRolloutBuffer, as_sb3
from persona_env.spaces import TokenContext
from tests.envs.parts import END as LINE_END
from tests.envs.parts import FIRST, TOKENS, Therapist, make_vec
from tests.sb3.rollouts import collect, make, random_values
from tests.sb3.toys import PAD, Bandit, ToyDialogues, tiny_llama

SPACES = (TokenContext(20, 12, PAD), spaces.Discrete(20))


def filled(steps: list[tuple[list[list[int]], list[bool], list[float], list[bool]]], **options: Any) -> Any:
    """A buffer with steps of (contexts, probing, rewards, episode starts); values are 0."""
    rows = len(steps[0][0])
    buffer, nothing = TrajectoryRolloutBuffer(len(steps), *SPACES, "cpu", n_envs=rows, **options), torch.zeros(rows)
    for step, (contexts, probing, rewards, starts) in enumerate(steps):
        observation = np.stack([SPACES[0].padded(row) for row in contexts]).view(TokenObservation)
        observation.info.probing = np.array(probing)
        actions = np.full((rows, 1), step)
        buffer.add(observation, actions, np.array(rewards), np.array(starts), nothing, nothing)
    return buffer


def test_every_token_comes_once_with_its_own_figures() -> None:
    algorithm = make(ToyDialogues(4, asks=1), tiny_llama())
    random_values(algorithm)
    collect(algorithm)
    buffer = algorithm.rollout_buffer
    for size in (32, None):
        samples = list(buffer.get(size))
        assert len(samples) == (4 if size else 1)
        for name in ("actions", "log_probs", "values", "advantages", "returns"):
            field = {"log_probs": "old_log_prob", "values": "old_values"}.get(name, name)
            got = torch.cat([getattr(sample, field).flatten() for sample in samples]).sort().values
            want = torch.from_numpy(np.sort(getattr(buffer, name).flatten()))
            assert torch.allclose(got.double(), want.double()), name


def test_golden_advantages_through_the_buffer() -> None:
    """Row 0: lines of 2 tokens and 1, paid 1 and 2, then the end; row 1: a line, an answer paid 3, a line.

    line_gamma .5, line_lambda 1, values 0: row 0: 1 + .5*2 = 2, 2, 2, then a new dialogue: 0.
    Row 1: 1 + .5*4 = 3; answer 3, 3; then 4.
    """
    buffer = filled(
        [
            ([[5], [5]], [False, False], [0, 1], [True, True]),
            ([[5, 6], [5, 6, 3]], [False, True], [1, 0], [False, False]),
            ([[5, 6, 7, 8], [5, 6, 3, 7]], [False, True], [2, 3], [False, False]),
            ([[9], [5, 6, 8]], [False, False], [0, 4], [True, False]),
        ],
        line_gamma=0.5,
        line_lambda=1.0,
    )
    buffer.compute_returns_and_advantage(torch.zeros(2, 1), np.array([False, True]))
    assert buffer.advantages.tolist() == [[2, 3], [2, 3], [2, 3], [0, 4]]
    assert buffer.returns.tolist() == buffer.advantages.tolist()


@pytest.mark.parametrize("cut_after", [None, 6])
def test_advantages_are_those_of_a_careful_bookkeeper(cut_after: int | None) -> None:
    """The environment's own account of lines, answers and ends, against what the buffer found out."""
    envs = ToyDialogues(4, asks=2, cut_after=cut_after)
    algorithm = make(envs, tiny_llama(), n_steps=48)
    random_values(algorithm)
    account: list[Any] = []
    step = envs.step

    def accounted(actions: Any) -> Any:
        answer, said = envs.probing.copy(), envs.in_line.copy()
        out = step(actions)
        ended = (np.asarray(actions) == 1) | (said + 1 == envs.max_tokens)
        last = [None if final is None else final.copy() for final in out[4].get("final_obs", [None] * 4)]
        account.append((answer, ended, out[2] | out[3], out[1].copy(), out[3].copy(), last))
        return out

    envs.step = accounted
    collect(algorithm)
    buffer = algorithm.rollout_buffer
    answer, ended, done, rewards, truncated, last = (np.array(part, object) for part in zip(*account, strict=True))
    values = np.zeros(done.shape, np.float32)
    for t, row in zip(*np.nonzero(truncated), strict=True):
        context = torch.from_numpy(last[t][row])[None]
        values[t, row] = algorithm.policy.predict_values(context).item()
    with torch.no_grad():
        after = algorithm.policy.predict_values(torch.tensor(algorithm._last_obs))
    want = line_advantages(
        RolloutArrays(
            rewards.astype(np.float32), buffer.values, answer.astype(bool), ended.astype(bool), done.astype(bool),
            after.flatten().numpy(), envs.probing & ~account[-1][2], values,
        ),
        0.5, 0.8,
    )  # fmt: skip
    assert bool(truncated.any()) == (cut_after is not None)
    assert np.allclose(buffer.advantages, want, atol=1e-5)


def test_a_context_that_is_full_after_a_finished_line_leaves_none_unfinished() -> None:
    """The line is paid 3, which is the mean of a line, and the estimate of 10 after it counts line_gamma."""

    class Long(Therapist):
        longest_reply = None

        def reply(self, views: Any) -> list[str]:
            return ["Long. " * 99 if view.messages else "Hi." for view in views]

    envs: Any = as_sb3(make_vec(TOKENS, 1, task_agent=Long(), context=90))
    options: Any = dict(gamma=1.0, line_gamma=0.5, reward_centering=True)
    buffer = TrajectoryRolloutBuffer(3, envs.observation_space, envs.action_space, "cpu", **options)
    policy: Any = SimpleNamespace(reference=None, predict_values=lambda contexts: torch.full((len(contexts), 1), 10.0))
    buffer.policy = policy
    observation, nothing, starts = envs.reset(), torch.zeros(1), np.array([True])
    for action, reward in ((FIRST, 0.0), (LINE_END, 3.0 + 10.0), (FIRST, 0.0)):
        actions = np.array([action])
        following, _, dones, _ = envs.step(actions)
        buffer.add(observation, actions, np.array([reward]), starts, nothing, nothing)
        observation, starts = following, dones
    buffer.compute_returns_and_advantage(nothing, starts)
    assert buffer.advantages.flatten().tolist() == [5, 5, 0]


def test_a_context_that_changes_without_a_question_is_refused() -> None:
    steps = [([[5, 6, 7]], [False], [0.0], [True]), ([[5, 8]], [False], [0.0], [False])]
    with pytest.raises(ValueError, match="wrap the environment in as_sb3"):
        filled(steps)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(line_gamma=1.5), "line_gamma in"),
        (dict(line_lambda=-0.1), "line_lambda in"),
        (dict(kl_coef=-1.0), "kl_coef >= 0"),
        (dict(kl_coef=float("nan")), "kl_coef >= 0"),
        (dict(kl_in="tight"), "kl_in 'reward' or 'loss'"),
        (dict(kl_in="loss", kl_coef=0.1), "its coefficient is ent_coef"),
    ],
)
def test_settings_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrajectoryRolloutBuffer(4, *SPACES, **options)


@pytest.mark.parametrize("options", [dict(kl_coef=0.1), dict(kl_in="loss")])
def test_a_kl_penalty_without_a_reference_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Expected a reference"):
        make(Bandit(np.zeros(6)), tiny_llama(6), rollout_buffer_kwargs=options)


def test_a_reference_alone_means_a_kl_penalty_in_the_reward() -> None:
    for options, coef in (({}, 0.03), (dict(kl_coef=0.0), 0.0)):
        policy = dict(reference="initial")
        made = make(Bandit(np.zeros(6)), tiny_llama(6), policy_kwargs=policy, rollout_buffer_kwargs=options)
        assert made.rollout_buffer.reward_kl_coef == coef


def test_two_learners_in_one_environment_keep_their_own_references() -> None:
    """Both are made with the same observation space, over which a buffer finds its policy."""
    envs = as_sb3(ToyDialogues(4))
    first = make(envs, tiny_llama(), policy_kwargs=dict(reference="initial"))
    second = make(envs, tiny_llama(seed=1), policy_kwargs=dict(reference="initial"))
    assert first.rollout_buffer.policy is first.policy
    assert second.rollout_buffer.policy is second.policy


def test_the_kl_penalty_takes_the_log_ratio_of_each_token_from_its_reward() -> None:
    policy = dict(reference=tiny_llama(seed=1))
    algorithm = make(
        ToyDialogues(4, asks=1), tiny_llama(), policy_kwargs=policy, rollout_buffer_kwargs=dict(kl_coef=0.25)
    )
    paid: list[np.ndarray] = []
    add = algorithm.rollout_buffer.add
    algorithm.rollout_buffer.add = lambda *a: (paid.append(a[2].copy()), add(*a))[1]
    contexts = collect(algorithm)
    buffer = algorithm.rollout_buffer
    everything = torch.from_numpy(np.concatenate(contexts))
    actions = torch.from_numpy(buffer.actions.reshape(-1))
    with torch.no_grad():
        reference = algorithm.policy.reference_log_probs(everything, actions).numpy().reshape(32, 4)
    assert np.allclose(buffer.rewards, np.stack(paid) - 0.25 * (buffer.log_probs - reference), atol=1e-5)
    assert buffer.kl_to_reference() == pytest.approx(float((buffer.log_probs - reference).mean()), abs=1e-5)
    assert abs(buffer.kl_to_reference()) > 1e-3


def test_the_critic_moves_to_the_level_of_the_returns_after_the_update() -> None:
    """Not before: the update compares with the estimates that the rollout had."""
    algorithm = make(Bandit(np.full(6, 5.0)), tiny_llama(6))
    collect(algorithm)
    context = torch.tensor(algorithm._last_obs)
    with torch.no_grad():
        assert algorithm.policy.predict_values(context).abs().max() == 0
        algorithm.rollout_buffer.reset()
        assert torch.allclose(algorithm.policy.predict_values(context), torch.tensor(5.0))
        algorithm.rollout_buffer.reset()  # once a rollout
        assert torch.allclose(algorithm.policy.predict_values(context), torch.tensor(5.0))
