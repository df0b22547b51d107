import itertools
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import persona_wrappers as pw

WEIGHTS = {
    "prompt_to_line": 0.3,
    "line_to_line": 0.7,
    "question_answer": 0.1,
    "relevance": 1 / 3,
    "copying": 0.5,
    "repetition": 0.9,
}


def returns(played):
    return [sum(one.rewards) for one in played]


def test_the_learner_of_these_tests_earns_and_loses_by_every_term(world):
    """Else the equalities below would hold of nothing."""
    seen = {name: set() for name in world.NAMES}
    env = world.stacked(world.gym_env(), WEIGHTS, world.NAMES, every=1)
    for one in world.play(env, episodes=40):
        for info in one.infos:
            for name in world.NAMES:
                if f"consistency/{name}" in info:
                    seen[name].add(info[f"consistency/{name}"])
    assert seen == {name: {0.0, 1.0} for name in world.NAMES}


@pytest.mark.parametrize("name", list(WEIGHTS))
@pytest.mark.parametrize("every", [1, 3, None])
def test_every_reward_is_the_same_in_all_three_forms(world, name, every):
    if name != "question_answer" and every is not None:
        pytest.skip("only questions have a schedule")
    more = {"every": every} if name == "question_answer" else {}
    one = world.stacked(world.gym_env(), WEIGHTS, [name], **more)
    aec = world.seat(world.stacked(world.aec_env(), WEIGHTS, [name], home=pw.aec, **more))
    envs = world.stacked(world.vector_env(3), WEIGHTS, [name], home=pw.vector, **more)
    alone = world.play(one)
    assert [p.rewards for p in alone] == [p.rewards for p in world.play(aec)]
    for row, rewards in enumerate(world.play_rows(envs)):
        assert rewards == [p.rewards for p in world.play(one, seed=5 + row)]


def test_a_full_stack_is_the_same_in_all_forms_and_as_one_wrapper(world):
    one = world.stacked(world.gym_env(), WEIGHTS, world.NAMES, every=2)
    aec = world.stacked(world.aec_env(), WEIGHTS, world.NAMES, home=pw.aec, every=2)
    rows = world.stacked(world.vector_env(), WEIGHTS, world.NAMES, home=pw.vector, every=2)
    joint = pw.vector.ConsistencyRewards(world.vector_env(), WEIGHTS, every=2)
    expected = [[p.rewards for p in world.play(one, seed=5 + row)] for row in range(3)]
    assert [p.rewards for p in world.play(world.seat(aec))] == pytest.approx(expected[0])
    for played in (world.play_rows(rows), world.play_rows(joint)):
        for got, wanted in zip(played, expected, strict=True):
            for a, b in zip(got, wanted, strict=True):
                assert a == pytest.approx(b, abs=1e-9)


@pytest.mark.parametrize("form", ["gym", "aec", "vector"])
def test_every_order_of_stacking_pays_the_same(world, form):
    names = ("prompt_to_line", "line_to_line", "question_answer", "copying")
    totals = []
    for order in itertools.permutations(names):
        if form == "gym":
            env = world.stacked(world.gym_env(), WEIGHTS, order, every=2)
            totals.append(returns(world.play(env)))
        elif form == "aec":
            aec = world.stacked(world.aec_env(), WEIGHTS, order, home=pw.aec, every=2)
            totals.append(returns(world.play(world.seat(aec))))
        else:
            envs = world.stacked(world.vector_env(2), WEIGHTS, order, home=pw.vector, every=2)
            totals.append([sum(r) for row in world.play_rows(envs) for r in row])
    assert len(totals) == 24
    assert np.ptp(np.array(totals), axis=0).max() < 1e-9


@settings(max_examples=15, deadline=None)
@given(
    st.permutations(sorted(WEIGHTS)).flatmap(
        lambda names: st.integers(1, len(names)).map(lambda n: names[:n])
    ),
    st.lists(st.floats(0, 1e3), min_size=6, max_size=6),
    st.integers(0, 2**31),
)
def test_any_subset_in_any_order_pays_the_sum_of_its_terms(tmp_world, order, numbers, seed):
    weights = dict(zip(sorted(WEIGHTS), numbers, strict=True))
    env = tmp_world.stacked(tmp_world.gym_env(), weights, order, every=1)
    for one in tmp_world.play(env, episodes=1, seed=seed):
        for reward, info in zip(one.rewards, one.infos, strict=True):
            terms = [
                weights[name] * (info[key] - (name in ("copying", "repetition")))
                for name in order
                if (key := f"consistency/{name}") in info
            ]
            assert reward == pytest.approx(sum(terms), abs=1e-9)


@pytest.fixture(scope="module")
def tmp_world(request):
    """The same as `world`, for Hypothesis, which wants nothing made anew for each example."""
    helpers = request.config.pluginmanager
    (home,) = [
        module
        for module in helpers.get_plugins()
        if str(getattr(module, "__file__", "")).endswith("tests/wrappers/conftest.py")
    ]
    return SimpleNamespace(stacked=home.stacked, gym_env=home.gym_env, play=home.play)


@pytest.mark.parametrize("every", [1, 2, None])
def test_questions_leave_no_trace_in_dialogue_or_generator(world, every):
    plain = world.gym_env()
    asked = pw.QuestionAnswerReward(pw.PromptToLineReward(world.gym_env()), every=every)
    before, after = world.play(plain), world.play(asked)
    assert [p.conversation for p in before] == [p.conversation for p in after]
    states = [env.unwrapped.np_random.bit_generator.state for env in (plain, asked)]
    assert states[0] == states[1]
    answers = [sum("answer" in info for info in one.infos) for one in after]
    assert sum(answers) > 0


def test_questions_change_no_other_terms_rewards(world):
    plain = pw.PromptToLineReward(world.gym_env())
    asked = pw.QuestionAnswerReward(pw.PromptToLineReward(world.gym_env()), every=1, weight=0.0)
    kept = [
        [r for r, info in zip(one.rewards, one.infos, strict=True) if "line" in info]
        for one in world.play(asked)
    ]
    assert kept == [one.rewards for one in world.play(plain)]


def test_two_interviewers_are_each_paid_for_their_own_answers(world):
    inner = pw.QuestionAnswerReward(world.gym_env(), weight=1.0, every=1)
    outer = pw.QuestionAnswerReward(inner, weight=10.0, every=2)
    for one in world.play(outer, episodes=5):
        for info, reward in zip(one.infos, one.rewards, strict=True):
            if "answer" in info:
                # the outermost wrapper is the first in the chain
                weight = {0: 10.0, 1: 1.0}[info["question"].asker]
                assert reward == weight * info["consistency/question_answer"]
        assert sum("answer" in info for info in one.infos) == 4 + 2


def test_tokens_are_paid_when_they_complete_a_line():
    """One action is one token: all tokens of a line but its last earn nothing."""
    envs = gym.make_vec(
        "persona_env/PatientTokens-v0", num_envs=4, max_lines=2, max_tokens=6, simulator="tiny"
    )
    envs = pw.vector.ConsistencyRewards(envs, relevance=1.0, repetition=1.0, every=1)
    rng = np.random.default_rng(0)
    envs.reset(seed=0)
    completed = 0
    for _ in range(40):
        ids = rng.integers(300, envs.single_action_space.n, 4)
        _, rewards, _, _, info = envs.step(ids)
        done = np.zeros(4, bool)
        for source in (info, info.get("final_info", {})):
            done |= source.get("_line", np.zeros(4, bool))
        assert (rewards[~done] == 0.0).all()
        completed += done.sum()
    assert completed == envs.judged / 2 > 0
