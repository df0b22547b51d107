"""Turn-level GAE, against numbers worked by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer

from persona_env.rl.advantages import RolloutArrays, center_rewards, line_advantages


def one_row(
    rewards: list[float],
    values: list[float],
    *,
    ends: list[int],
    answers: tuple[int, ...] = (),
    dialogue_ends: dict[int, float] | None = None,
    next_value: float = 0.0,
    next_answer: bool = False,
) -> RolloutArrays:
    """A rollout of one row; `ends` and `answers` are steps, `dialogue_ends` maps steps to bootstrap values."""
    count, over = len(rewards), dialogue_ends or {}

    def flags(steps: Any) -> Any:
        return np.isin(np.arange(count), list(steps))[:, None]

    return RolloutArrays(
        rewards=np.array(rewards, np.float32)[:, None],
        values=np.array(values, np.float32)[:, None],
        answer=flags(answers),
        last_of_line=flags(ends),
        last_of_dialogue=flags(over),
        next_values=np.array([next_value], np.float32),
        next_answer=np.array([next_answer]),
        bootstrap_values=np.array([over.get(step, 0.0) for step in range(count)], np.float32)[:, None],
    )


def advantages(steps: RolloutArrays, gamma: float = 0.5, decay: float = 0.5) -> list[float]:
    return line_advantages(steps, gamma, decay)[:, 0].tolist()


def test_a_line_is_one_move_and_the_next_one_is_discounted() -> None:
    """Lines: steps 0-1, 2-3, and 4, unfinished when the rollout ends.

    4: 0 + .6 - .1 = .5, undiscounted; 3: 2 + .5*.1 - .2 + .25*.5 = 1.975; 2: 0 + .2 - .3 + 1.975 = 1.875;
    1: 1 + .5*.3 - .4 + .25*1.875 = 1.21875; 0: .4 - .5 + 1.21875 = 1.11875.
    """
    steps = one_row([0, 1, 0, 2, 0], [0.5, 0.4, 0.3, 0.2, 0.1], ends=[1, 3], next_value=0.6)
    assert advantages(steps) == pytest.approx([1.11875, 1.21875, 1.875, 1.975, 0.5])


def test_an_answer_gets_its_own_reward_and_the_dialogue_passes_over_it() -> None:
    """Line 0-1, answer 2-3, line 4-5, which ends the dialogue.

    5: 2 - .2; 4: .2 - .3 + 1.8 = 1.7; 3: 3 - .8 = 2.2; 2: .8 - .9 + 2.2 = 2.1;
    1: 1 + .5*.3 - .4 + .25*1.7 = 1.175 (from step 4, not 2); 0: .4 - .5 + 1.175 = 1.075.
    """
    steps = one_row(
        [0, 1, 0, 3, 0, 2], [0.5, 0.4, 0.9, 0.8, 0.3, 0.2], ends=[1, 3, 5], answers=(2, 3), dialogue_ends={5: 0.0}
    )
    assert advantages(steps) == pytest.approx([1.075, 1.175, 2.1, 2.2, 1.7, 1.8])


def test_a_rollout_that_ends_in_an_answer_stands_in_the_latest_lines_value() -> None:
    """Lines 0-1 and 2, answer 3, unfinished: 3: .7 - .9; 2: 2 + .5*.3 - .3; 1: 1 + .15 - .4 + .25*1.85."""
    steps = one_row([0, 1, 2, 0], [0.5, 0.4, 0.3, 0.9], ends=[1, 2], answers=(3,), next_value=0.7, next_answer=True)
    assert advantages(steps) == pytest.approx([1.1125, 1.2125, 1.85, -0.2])


def test_nothing_passes_from_one_dialogue_to_the_next_and_a_line_after_the_rollout_is_discounted() -> None:
    """0: 1 - .5, whatever the next dialogue brings; 1: 5 + .5*9 - .4."""
    steps = one_row([1, 5], [0.5, 0.4], ends=[0, 1], dialogue_ends={0: 0.0}, next_value=9.0)
    assert advantages(steps) == pytest.approx([0.5, 9.1])


@pytest.mark.parametrize(
    ("ends", "answers", "want"),
    [
        ([], (), 1 + 2 - 0.5),  # inside a line: the same line goes on
        ([0], (), 1 + 0.5 * 2 - 0.5),  # after a line: the next line is discounted
        ([], (0,), 1 + 2 - 0.5),  # inside an answer: the answer goes on
        ([0], (0,), 1 - 0.5),  # after an answer: nothing more for it
    ],
)
def test_a_dialogue_cut_off_from_outside_counts_what_would_have_come(
    ends: list[int], answers: tuple[int, ...], want: float
) -> None:
    steps = one_row([1], [0.5], ends=ends, answers=answers, dialogue_ends={0: 2.0}, next_value=9.0)
    assert advantages(steps) == pytest.approx([want])


@pytest.mark.parametrize("bootstrap", [0.0, 2.0])
def test_a_dialogue_that_ends_with_an_answer_goes_on_from_what_would_have_come(bootstrap: float) -> None:
    """Line 0, answer 1, complete; with 2 as the bootstrap value: 0: 1 + .5*2 - .5; 1: 3 - .9."""
    steps = one_row([1, 3], [0.5, 0.9], ends=[0, 1], answers=(1,), dialogue_ends={1: bootstrap}, next_value=7.0)
    assert advantages(steps) == pytest.approx([0.5 + 0.5 * bootstrap, 2.1])


def random_steps(rng: np.random.Generator, count: int, rows: int) -> RolloutArrays:
    ends = rng.random((count, rows)) < 0.4
    over = ends & (rng.random((count, rows)) < 0.3)
    normal = rng.normal(size=(4, count, rows)).astype(np.float32)
    nothing = np.zeros((count, rows), bool)
    return RolloutArrays(normal[0], normal[1], nothing, ends, over, normal[2, 0], nothing[0], np.zeros_like(normal[3]))


def test_without_discount_it_is_stable_baselines_own_estimate() -> None:
    steps = random_steps(np.random.default_rng(0), 40, 6)
    buffer = RolloutBuffer(40, spaces.Box(0, 1, (1,)), spaces.Discrete(2), gae_lambda=1.0, gamma=1.0, n_envs=6)
    buffer.rewards, buffer.values = steps.rewards, steps.values
    buffer.episode_starts[1:] = steps.last_of_dialogue[:-1]
    buffer.compute_returns_and_advantage(torch.from_numpy(steps.next_values), steps.last_of_dialogue[-1])
    assert np.allclose(line_advantages(steps, 1.0, 1.0), buffer.advantages, atol=1e-4)


def test_golden_centering_takes_the_mean_of_its_kind_from_each_line_and_answer() -> None:
    """Lines 0-1 (paid 1), 4-5 (paid 2) and 6, unfinished: mean 1.5. Answers 2-3 (1): mean 1."""
    steps = one_row([0, 1, 0, 1, 0.5, 1.5, 0], [0.0] * 7, ends=[1, 3, 5], answers=(2, 3))
    assert center_rewards(steps).rewards[:, 0].tolist() == [0, -0.5, 0, 0, 0.5, 0, 0]
    assert steps.rewards[1, 0] == 1, "what was recorded stays"
    assert center_rewards(one_row([0.0, 0.0], [0.0, 0.0], ends=[])).rewards.tolist() == [[0], [0]]
