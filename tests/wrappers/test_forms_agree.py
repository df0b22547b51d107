import math

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import persona_wrappers as pw
from persona_env.envs.single_agent import SingleAgentEnv
from tests.wrappers.playing import NAMES, PENALTIES, WEIGHTS, aec_env, gym_env, play, play_rows, stacked, vector_env


def values(played, name):
    """The values of a drift type by the step in which they were written."""
    key = f"consistency/{name}"
    return {step: info[key] for step, info in enumerate(played.infos) if key in info}


def flat(dialogues):
    return [reward for rewards in dialogues for reward in rewards]


def test_the_learner_of_these_tests_earns_and_loses_by_every_term():
    """Else the equalities below would hold of nothing."""
    seen = {name: set() for name in NAMES}
    env = stacked(gym_env(), NAMES, every=1)
    for one in play(env, episodes=40):
        for info in one.infos:
            for name in NAMES:
                if f"consistency/{name}" in info:
                    seen[name].add(info[f"consistency/{name}"])
    assert all(values >= {0.0, 1.0} for values in seen.values())


@pytest.mark.parametrize(
    ("name", "more"),
    [(name, {}) for name in NAMES] + [("question_answer", {"every": n}) for n in (1, 3)],
)
def test_every_reward_is_the_same_in_all_three_forms(name, more):
    one = stacked(gym_env(), [name], **more)
    aec = SingleAgentEnv(stacked(aec_env(), [name], home=pw.aec, **more))
    envs = stacked(vector_env(3), [name], home=pw.vector, **more)
    alone, seated = play(one), play(aec)
    assert [p.rewards for p in alone] == [p.rewards for p in seated]
    assert [values(p, name) for p in alone] == [values(p, name) for p in seated]
    assert any(values(p, name) for p in alone)
    for row, rewards in enumerate(play_rows(envs)):
        assert rewards == [p.rewards for p in play(one, seed=5 + row)]


def test_a_full_stack_in_any_order_is_the_same_in_all_forms_and_as_one_wrapper():
    one = stacked(gym_env(), NAMES, every=2)
    aec = stacked(aec_env(), NAMES[::-1], home=pw.aec, every=2)
    rows = stacked(vector_env(), NAMES[3:] + NAMES[:3], home=pw.vector, every=2)
    joint = pw.vector.ConsistencyRewards(vector_env(), WEIGHTS, every=2)
    expected = [flat(p.rewards for p in play(one, seed=5 + row)) for row in range(3)]
    assert flat(p.rewards for p in play(SingleAgentEnv(aec))) == pytest.approx(expected[0], abs=1e-9)
    for envs in (rows, joint):
        for row, dialogues in enumerate(play_rows(envs)):
            assert flat(dialogues) == pytest.approx(expected[row], abs=1e-9)


@settings(max_examples=15, deadline=None)
@given(
    st.permutations(sorted(WEIGHTS)).flatmap(lambda names: st.integers(1, len(names)).map(lambda n: names[:n])),
    st.lists(st.floats(0, 1e3), min_size=len(NAMES), max_size=len(NAMES)),
    st.integers(0, 2**31),
)
def test_any_subset_in_any_order_pays_the_sum_of_its_terms(order, numbers, seed):
    weights = dict(zip(sorted(WEIGHTS), numbers, strict=True))
    env = stacked(gym_env(), order, weights, every=1)
    for one in play(env, episodes=1, seed=seed):
        for reward, info in zip(one.rewards, one.infos, strict=True):
            terms = [
                weights[name] * (info[key] - (name in PENALTIES))
                for name in order
                if not math.isnan(info.get(key := f"consistency/{name}", math.nan))
            ]
            assert reward == pytest.approx(sum(terms), abs=1e-9)


@pytest.mark.parametrize("every", [1, 2, None])
def test_questions_leave_no_trace_in_dialogue_or_generator(every):
    plain = pw.PromptToLineReward(gym_env())
    asked = pw.QuestionAnswerReward(pw.PromptToLineReward(gym_env()), every=every, weight=0.0)
    before, after = play(plain), play(asked)
    assert [p.conversation for p in before] == [p.conversation for p in after]
    kept = [[r for r, info in zip(one.rewards, one.infos, strict=True) if "line" in info] for one in after]
    assert kept == [one.rewards for one in before]
    states = [env.unwrapped.np_random.bit_generator.state for env in (plain, asked)]
    assert states[0] == states[1]
    answers = [sum("answer" in info for info in one.infos) for one in after]
    assert sum(answers) > 0


def test_two_rewards_for_answers_are_each_paid_for_their_own_answers():
    inner = pw.QuestionAnswerReward(gym_env(), weight=1.0, every=1)
    outer = pw.QuestionAnswerReward(inner, weight=10.0, every=2)
    for one in play(outer, episodes=5):
        for info, reward in zip(one.infos, one.rewards, strict=True):
            if "answer" in info:
                # the outermost wrapper is the first in the chain
                weight = {0: 10.0, 1: 1.0}[info["probe"].source]
                value = info["consistency/question_answer"]
                assert reward == weight * (0.0 if math.isnan(value) else value)
        assert sum("answer" in info for info in one.infos) == 4 + 2


def test_tokens_are_paid_when_they_complete_a_line():
    """One action is one token: all tokens of a line but its last earn nothing."""
    envs = gym.make_vec("persona_env/PatientTokens-v0", num_envs=4, max_lines=2, max_tokens=6, simulator="tiny")
    envs = pw.vector.ConsistencyRewards(envs, relevance=1.0, repetition=1.0, every=1)
    rng, vocabulary = np.random.default_rng(0), int(getattr(envs.single_action_space, "n"))  # noqa: B009
    envs.reset(seed=0)
    completed = 0
    for _ in range(40):
        ids = rng.integers(300, vocabulary, 4)
        _, rewards, _, _, info = envs.step(ids)
        done = np.zeros(4, bool)
        for source in (info, info.get("final_info", {})):
            done |= source.get("_line", np.zeros(4, bool))
        assert (rewards[~done] == 0.0).all()
        completed += done.sum()
    assert completed == envs.judged / 2 > 0
