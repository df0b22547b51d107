import warnings
from typing import Any

import pytest
from pettingzoo import AECEnv
from pettingzoo.test import api_test, parallel_api_test, seed_test

import persona_wrappers as pw
from persona_env.envs.aec_env import ParallelDialogue
from persona_env.envs.single_agent import SingleAgentEnv
from tests.wrappers.playing import CLASSES, NAMES, aec_env, play, stacked

EVERY = {"question_answer": {"every": 1}}


@pytest.mark.parametrize("name", NAMES)
def test_every_reward_passes_pettingzoos_own_tests(name, capsys):
    def make():
        return getattr(pw.aec, CLASSES[name])(aec_env(), **EVERY.get(name, {}))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that observations are no arrays
        api_test(make(), num_cycles=20)
        seed_test(make, num_cycles=20)
        parallel_api_test(ParallelDialogue(make()), num_cycles=20)


def test_only_the_simulator_is_paid_and_only_for_its_own_step():
    env = pw.aec.RepetitionPenalty(aec_env(), weight=0.5)
    env.reset(seed=0)
    paid = []
    for text in ("How are you?", "Hm.", "Really?", "Hm.", "Oh.", "Fine."):
        env.step(text)
        paid.append(env.rewards["simulator_0"])
        assert env.rewards["task_0"] == 0.0
    assert paid == [0.0, 0.0, 0.0, -0.5, 0.0, 0.0]


def test_last_gives_what_an_agent_was_paid_since_it_last_acted():
    env = pw.aec.RepetitionPenalty(pw.aec.PromptToLineReward(aec_env()), weight=0.25)
    env.reset(seed=0)
    seen = []
    for text in ("How are you?", "I'd rather not say.", "Hm?", "I'd rather not say.", "Well?"):
        env.step(text)
        seen.append((env.agent_selection, env.last()[1]))
    sums = [("simulator_0", 0.0), ("task_0", 0.0), ("simulator_0", 1.0), ("task_0", 0.0), ("simulator_0", 0.75)]
    assert seen == sums
    inside: Any = env.unwrapped
    state = inside.snapshot()
    env.step("Pretty sad.")
    env.step("Bye. [END]")
    assert env.last()[1] != 0.75
    inside.restore(state)
    assert (env.agent_selection, env.last()[1]) == sums[-1], "what was paid is part of a snapshot"


def test_the_task_agent_is_paid_nothing_for_the_simulators_lines():
    aec = stacked(aec_env(), NAMES, home=pw.aec, every=1)
    (dialogue,) = play(SingleAgentEnv(aec, agent="task_0", partner="scripted"), episodes=1)
    assert set(dialogue.rewards) == {0.0}
    assert aec.judged > 0


def test_an_environment_of_other_agents_is_refused():
    class Chess(AECEnv):
        metadata = {"name": "chess"}  # noqa: RUF012
        possible_agents = ["white_0", "black_0"]  # noqa: RUF012

    with pytest.raises(ValueError, match="Expected a dialogue environment with agent simulator_0"):
        pw.aec.CopyPenalty(Chess())


def test_the_parallel_form_goes_on_from_a_restored_point():
    env: Any = ParallelDialogue(pw.aec.CopyPenalty(aec_env(max_lines=1)))
    env.reset(seed=0)
    state = env.unwrapped.snapshot()
    ends = []
    for _ in range(2):
        while env.agents:
            env.step(dict.fromkeys(env.possible_agents, "Hm."))
        ends.append(env.unwrapped.conversation)
        env.unwrapped.restore(state)
        assert sorted(env.agents) == sorted(env.possible_agents)
    assert ends[0] == ends[1]
    assert len(ends[0].messages) > 1
