"""The bridge from Gymnasium's vector environments."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorWrapper

from persona_env.sb3 import TokenObservation, TrajectoryRolloutBuffer, as_sb3
from tests.sb3.toys import END, Bandit, ToyDialogues


def test_a_finished_row_shows_its_last_context_and_its_rewards() -> None:
    bridge = as_sb3(ToyDialogues(3, lines=1))
    bridge.seed(5)
    first = np.array(bridge.reset())
    observation, rewards, dones, infos = bridge.step(np.array([END, 7, END]))
    assert dones.tolist() == [True, False, True]
    assert rewards.dtype == np.float32
    length = int((first[0] != 0).sum())
    assert infos[0]["terminal_observation"][length] == END
    assert infos[0]["TimeLimit.truncated"] is False
    assert infos[0]["episode"] == {"r": 0.0, "l": 1}
    assert infos[1] == {}
    assert isinstance(observation, TokenObservation)
    assert (observation[1] != first[1]).sum() == 1


def test_an_entry_of_the_info_stands_in_the_rows_that_it_is_about() -> None:
    bridge = as_sb3(ToyDialogues(3, lines=2, vocabulary=20))
    bridge.reset()
    bridge.step(np.array([2, 2, 3]))
    _, _, _, infos = bridge.step(np.array([END, 4, END]))
    assert infos[0] == {"consistency/toy": 0.5}  # 2 is even, END is not
    assert infos[1] == infos[2] == {}
    _, _, dones, infos = bridge.step(np.array([4, END, 3]))
    assert not dones.any()
    _, _, dones, infos = bridge.step(np.array([END, 3, END]))
    assert dones.tolist() == [True, False, True]
    assert infos[0]["consistency/toy"] == 0.5
    assert "consistency/toy" not in infos[2]


def test_seeds_reach_the_rows_and_are_used_once() -> None:
    envs = ToyDialogues(3)
    bridge = as_sb3(envs)
    bridge.seed(7)
    first = np.array(bridge.reset())
    assert envs.seeds == [7, 8, 9]
    bridge.reset()
    assert envs.seeds == [None, None, None]
    bridge.seed(7)
    assert (np.array(bridge.reset()) == first).all()


def test_options_reach_the_environment_once() -> None:
    envs = ToyDialogues(2)
    bridge = as_sb3(envs)
    bridge.set_options({"persona": "ann"})
    bridge.reset()
    assert envs.options == {"persona": "ann"}
    bridge.reset()
    assert envs.options is None
    bridge.set_options([{"a": 1}, {"a": 2}])
    with pytest.raises(ValueError, match="same options"):
        bridge.reset()


def test_an_environment_that_writes_into_its_own_array_does_no_harm() -> None:
    class Reusing(Bandit):
        shared = np.full((2, 8), 2, np.int32)

        def _observations(self) -> Any:
            self.shared[:, 1] += 1
            return self.shared

    bridge = as_sb3(Reusing(np.zeros(4), 2))
    first = bridge.reset()
    second, *_ = bridge.step(np.array([1, 1]))
    assert not np.may_share_memory(first, second)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED, None])
def test_another_autoreset_is_refused(mode: AutoresetMode | None) -> None:
    envs = Bandit(np.zeros(4), 2)
    envs.metadata = {"autoreset_mode": mode}
    with pytest.raises(ValueError, match="SAME_STEP"):
        as_sb3(envs)


class Halved(VectorWrapper):
    """A wrapper with an attribute of its own."""

    share = 0.5


def test_attributes_and_methods_are_found_through_wrappers() -> None:
    envs = ToyDialogues(3)
    bridge = as_sb3(Halved(envs))
    assert bridge.get_attr("share") == [0.5, 0.5, 0.5]
    assert bridge.get_attr("max_tokens", indices=[0, 2]) == [5, 5]
    bridge.set_attr("max_tokens", 2)
    assert envs.max_tokens == 2
    bridge.reset()
    assert bridge.env_method("_words", 0, 1, 1, indices=1)[0][0] >= 2
    assert bridge.env_is_wrapped(Halved) == [True] * 3
    assert bridge.env_is_wrapped(gym.Wrapper, indices=0) == [False]
    assert bridge.has_attr("lines")
    assert not bridge.has_attr("nothing")
    with pytest.raises(ValueError, match="rows share"):
        bridge.set_attr("max_tokens", 2, indices=[0])


def test_a_link_that_no_policy_took_does_no_harm_to_copies_of_the_space() -> None:
    space = ToyDialogues(2).single_observation_space
    TrajectoryRolloutBuffer(4, space, spaces.Discrete(20))
    for copied in (copy.deepcopy(space), pickle.loads(pickle.dumps(space))):
        assert copied == space
