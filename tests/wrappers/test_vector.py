import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import persona_wrappers as pw
from persona_env.metrics import METRICS
from tests.metrics.parts import Shouting
from tests.wrappers.playing import NAMES, WEIGHTS, gym_env, play_rows, stacked, vector_env
from tests.wrappers.waiting import Exact


def test_all_terms_of_all_rows_are_one_judge_batch_per_step():
    judge = Exact(is_remote=False)
    envs = pw.vector.ConsistencyRewards(vector_env(3), WEIGHTS, judge=judge, every=1)
    envs.reset(seed=0)
    envs.step([f"Hm, {row}." for row in range(3)])  # persona, relevance, evasion and role, each of 3 rows
    envs.step(["No idea."] * 3)  # answers
    envs.step([f"Well, {row}." for row in range(3)])  # and history now
    first, _, third = map(len, judge.batches)
    assert (first, third) == (12, 15)


def test_a_finishing_row_is_paid_once_and_written_under_final_info():
    envs = pw.vector.RepetitionPenalty(vector_env(2), weight=0.5)
    envs.reset(seed=0)
    envs.step(["Hm.", "Hm."])
    _, rewards, terminated, _, info = envs.step(["Hm.", "Hm. [END]"])
    assert terminated.tolist() == [False, True]
    assert rewards.tolist() == [-0.5, -0.5]
    assert info["consistency/repetition"].tolist()[0] == 0.0
    assert info["_consistency/repetition"].tolist() == [True, False]
    assert info["final_info"]["_consistency/repetition"].tolist() == [False, True]
    assert info["final_info"]["consistency/repetition"][1] == 0.0
    _, rewards, _, _, info = envs.step(["Hm.", "Hm."])  # row 1: the first line of its next dialogue
    assert rewards.tolist() == [-0.5, 0.0]


def test_a_step_that_completes_nothing_is_passed_on_as_it_is():
    envs = gym.make_vec("persona_env/PatientTokens-v0", num_envs=2, simulator="tiny", max_lines=2)
    judge = Exact(is_remote=False)
    wrapped = pw.vector.ConsistencyRewards(envs, {"prompt_to_line": 1.0}, judge=judge)
    wrapped.reset(seed=0)
    _, rewards, _, _, info = wrapped.step(np.array([300, 301]))
    assert (rewards == 0).all()
    assert info == {}
    assert judge.batches == []


def test_weights_come_by_name_or_keyword_or_both():
    envs = pw.vector.ConsistencyRewards(vector_env(1), {"copying": 0.5}, prompt_to_line=1.0)
    assert envs.weights == {"prompt_to_line": 1.0, "copying": 0.5}


@pytest.mark.parametrize(
    ("weights", "more", "message"),
    [
        ({"prompt_to_lines": 1.0}, {}, "Expected a metric among .*, got 'prompt_to_lines'"),
        ({}, {"line": 1.0}, "Expected a metric among .*, got 'line'"),
        ({"copying": 1.0}, {"copying": 1.0}, "got two of copying"),
        ({}, {}, "Expected at least one weight"),
        ({"copying": -1.0}, {}, "Expected weight >= 0 for copying, got -1.0: a penalty has its sign already"),
        ({"copying": float("nan")}, {}, "Expected weight >= 0 for copying, got nan: give a finite number"),
        ({"copying": float("inf")}, {}, "Expected weight >= 0 for copying, got inf: give a finite number"),
        ({"question_answer": 1.0}, {"every": 0}, "Expected every >= 1"),
    ],
)
def test_wrong_weights_are_told(weights, more, message):
    with pytest.raises(ValueError, match=message):
        pw.vector.ConsistencyRewards(vector_env(1), weights, **more)


def test_what_the_environment_inside_returned_stays_as_it_was():
    inside, kept = vector_env(2), []
    step = inside.step

    def keep(actions):
        result = step(actions)
        final = result[4].get("final_info", {})
        kept.append((result, result[1].copy(), sorted(result[4]), final, sorted(final)))
        return result

    inside.step = keep
    envs = pw.vector.PromptToLineReward(pw.vector.PromptToLineReward(inside, weight=1.0), weight=2.0)
    envs.reset(seed=0)
    _, paid, *_ = envs.step(["I'd rather not say.", "I'd rather not say. [END]"])
    assert paid.tolist() == [3.0, 3.0]
    ((result, rewards, keys, final, final_keys),) = kept
    assert (result[1] == rewards).all()
    assert sorted(result[4]) == keys
    assert sorted(final) == final_keys != []


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_gymnasiums_own_vector_of_environments_is_paid_the_same(mode):
    sync = SyncVectorEnv([gym_env] * 2, autoreset_mode=mode)
    sync = stacked(sync, NAMES, home=pw.vector, every=1)
    own = stacked(vector_env(2), NAMES, home=pw.vector, every=1)
    for one, other in zip(play_rows(sync, 1), play_rows(own, 1), strict=True):
        assert one == other


def test_a_vector_of_something_else_is_refused():
    cart = gym.make_vec("CartPole-v1", 2, vectorization_mode="sync")
    with pytest.raises(ValueError, match=r"^Expected a dialogue environment, got .* which has no max_lines: give"):
        pw.vector.QuestionAnswerReward(cart)
    with pytest.raises(ValueError, match="Expected a dialogue environment"):
        pw.vector.CopyPenalty(cart).reset(seed=0)


def test_a_metric_from_outside_is_rewarded_by_name_by_object_and_by_a_subclass(monkeypatch):
    monkeypatch.setitem(METRICS._registered, "shouting", Shouting)

    class ShoutingPenalty(pw.GymReward):
        """Takes `weight` off for each line in capitals."""

        metric = "shouting"

    for metric in ("shouting", Shouting()):
        envs = pw.vector.ConsistencyRewards(vector_env(2), {"prompt_to_line": 0.0, metric: 0.5})
        envs.reset(seed=0)
        _, rewards, _, _, info = envs.step(["NO!", "no."])
        assert rewards.tolist() == [-0.5, 0.0]
        assert info["consistency/shouting"].tolist() == [0.0, 1.0]
    env = ShoutingPenalty(gym_env(), weight=0.25)
    env.reset(seed=0)
    assert env.step("NO!")[1] == -0.25
