"""Judging during generation in a stack of layers: what they rewrite, copies, and the bridge to a learner."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv, VectorWrapper

import persona_wrappers as pw
from persona_env.judges.ensemble import Ensemble
from persona_env.sb3 import as_sb3
from tests.envs.parts import TOKENS, policies
from tests.wrappers.playing import gym_env
from tests.wrappers.waiting import Exact, dialogues, played


def test_a_stack_of_remote_and_local_judges_pays_the_same():
    slow, quick = Exact(), Exact(is_remote=False)
    envs = pw.vector.RelevanceReward(pw.vector.PromptToLineReward(dialogues(), Ensemble([quick, quick])), slow)
    plain: Any = pw.vector.RelevanceReward(pw.vector.PromptToLineReward(dialogues(), "oracle"), "oracle")
    assert (envs.overlaps, envs.env.overlaps, plain.overlaps) == (True, False, False)  # pyright: ignore
    assert [repr(found) for found in played(envs, 9)] == [repr(found) for found in played(plain, 9)]


class Repeating(VectorWrapper):
    """Says each line twice."""

    def step(self, actions):
        self.env.step(actions)
        return self.env.step(actions)


class Rewriting(VectorWrapper):
    """Changes what was said on its way out."""

    def step(self, actions):
        *rest, info = self.env.step(actions)
        for entries in (info, info.get("final_info", {})):
            for row in np.flatnonzero(entries.get("_line", [])):
                entries["conversation"][row] = entries["conversation"][row].with_line("I am a language model.")
                entries["line_index"][row] += 1
        return *rest, info


@pytest.mark.parametrize("layer", [Repeating, Rewriting])
def test_a_layer_that_changes_steps_is_judged_by_what_it_returns(layer):
    found = []
    for is_remote in (True, False):
        judge = Exact(is_remote)
        envs = pw.vector.PromptToLineReward(layer(dialogues()), judge)
        found.append(played(pw.vector.LineToLineReward(envs, judge), 7))
    assert found[0] == found[1]


def test_gymnasiums_own_vector_of_environments_is_judged_after_the_step():
    judge = Exact()
    envs = pw.vector.PromptToLineReward(SyncVectorEnv([gym_env] * 2), judge)
    assert not envs.overlaps
    envs.reset(seed=0)
    envs.step(["I sleep well."] * 2)
    assert judge.threads == [threading.current_thread()]


def test_copies_go_on_the_same_and_need_no_copy_of_the_judge():
    judge = Exact()  # holds a lock, which neither copies nor pickles
    envs = pw.vector.PromptToLineReward(dialogues(), judge)
    envs.reset(seed=0)
    inside: Any = envs.unwrapped
    copies = [copy.deepcopy(inside), pickle.loads(pickle.dumps(inside))]
    expected = played(envs, 9, seed=None)
    for bare in copies:
        again = pw.vector.PromptToLineReward(bare, judge)
        assert again.overlaps
        assert played(again, 9, seed=None) == expected


def test_the_bridge_to_stable_baselines3_takes_the_same_path():
    judge = Exact()
    bridge = as_sb3(pw.vector.ConsistencyRewards(dialogues(TOKENS), {"prompt_to_line": 1.0}, judge))
    observation = bridge.reset()
    while len(judge.batches) < 3:
        observation, _, _, infos = bridge.step(policies(np.asarray(observation), 3))
        judged = any("consistency/prompt_to_line" in info for info in infos)
        assert judged == any("line" in info for info in infos)
    assert threading.current_thread() not in judge.threads
