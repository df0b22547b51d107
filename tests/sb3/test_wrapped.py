"""Wrappers of others, under the bridge and over it, change nothing but what they are for."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from persona_env.errors import InputError
from persona_env.sb3 import as_sb3
from tests.sb3.rollouts import collect, make, random_values
from tests.sb3.toys import END, Bandit, ToyDialogues, tiny_llama


def normalised(envs: ToyDialogues) -> VecNormalize:
    """stable-baselines3's wrapper, which copies each observation, told to leave all figures as they are."""
    return VecNormalize(as_sb3(envs), norm_obs=False, norm_reward=False)


def test_gymnasiums_statistics_stand_in_the_rows_that_ended() -> None:
    bridge = as_sb3(RecordEpisodeStatistics(ToyDialogues(3, lines=1)))
    bridge.reset()
    bridge.step(np.array([2, 3, 3]))
    _, _, dones, infos = bridge.step(np.array([END, 3, END]))
    assert dones.tolist() == [True, False, True]
    assert (infos[0]["episode"]["r"], infos[0]["episode"]["l"]) == (0.5, 2)
    assert infos[2]["episode"]["r"] == 0
    assert infos[0]["episode"]["t"] >= 0
    assert "episode" not in infos[1]
    assert "episode" not in infos[0].get("reset_info", {})


def test_an_entry_in_an_entry_stands_in_the_rows_that_its_own_mask_names() -> None:
    def counted(length: int) -> gym.Env[Any, Any]:
        return gym.wrappers.RecordEpisodeStatistics(gym.make("CartPole-v1", max_episode_steps=length))

    envs = gym.vector.SyncVectorEnv([lambda: counted(2), lambda: counted(3)], autoreset_mode=AutoresetMode.SAME_STEP)
    bridge = as_sb3(envs)
    bridge.reset()
    bridge.step(np.array([1, 1]))
    _, _, dones, infos = bridge.step(np.array([1, 1]))
    assert dones.tolist() == [True, False]
    assert (infos[0]["episode"]["r"], infos[0]["episode"]["l"]) == (2, 2)
    assert "episode" not in infos[1]
    bridge.close()


@pytest.mark.parametrize(("asks", "cut_after"), [(0, 7), (1, None), (1, 7)])
def test_a_wrapper_that_copies_observations_loses_no_probe_and_no_bootstrap(asks: int, cut_after: int | None) -> None:
    found = []
    for wrapped in (as_sb3, normalised):
        algorithm = make(wrapped(ToyDialogues(4, asks=asks, cut_after=cut_after, lines=9, context=192)), tiny_llama())
        random_values(algorithm)
        algorithm.policy.value_head.level += 5
        torch.manual_seed(0)
        collect(algorithm)
        found.append(algorithm.rollout_buffer)
    plain, copies = found
    assert bool(plain.bootstrap_values.any()) == bool(cut_after)
    assert bool(plain.answers.any()) == bool(asks)
    for name in ("actions", "answers", "bootstrap_values", "unfinished", "rewards", "advantages", "returns"):
        assert (getattr(plain, name) == getattr(copies, name)).all(), name


def test_episodes_are_logged_as_by_stable_baselines_own_monitor() -> None:
    figures = []
    for wrapped in (as_sb3, lambda envs: VecMonitor(as_sb3(envs))):
        algorithm = make(wrapped(ToyDialogues(4)), tiny_llama())
        collect(algorithm)
        figures.append([(episode["r"], episode["l"]) for episode in algorithm.ep_info_buffer])
    assert len(figures[0]) > 4
    assert np.allclose(*figures)


def test_what_would_train_on_other_contexts_than_it_saw_is_refused() -> None:
    envs = as_sb3(Bandit(np.ones(20), 4))
    evaluation = EvalCallback(envs, n_eval_episodes=4, eval_freq=10, warn=False, verbose=0)
    with pytest.raises(InputError, match="evaluate in an environment of its own"):
        make(envs, tiny_llama()).learn(128, evaluation)
    with pytest.raises(InputError, match="give VecNormalize norm_obs=False"):
        make(VecNormalize(as_sb3(ToyDialogues(4))), tiny_llama()).learn(128)
