"""The official checks of Gymnasium, PettingZoo and Stable-Baselines3."""

import warnings

import gymnasium as gym
import pettingzoo
import pytest
from gymnasium.utils.env_checker import check_env
from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test, seed_test
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from persona_env import dialogue_v0
from persona_env.envs import SingleAgentEnv
from persona_env.envs.registration import AEC_ID, env_ids
from tests.envs.parts import PERSONAS, TOKENS, make


@pytest.mark.parametrize("env_id", env_ids())
def test_gymnasium_finds_nothing_wrong(env_id):
    check_env(gym.make(env_id, render_mode="ansi").unwrapped)


def test_stable_baselines3_finds_nothing_wrong_with_the_token_form():
    sb3_check_env(make(TOKENS))


@pytest.mark.parametrize("learner", ["simulator_0", "task_0"])
def test_gymnasium_finds_nothing_wrong_with_either_seat(learner):
    with warnings.catch_warnings():  # a side is made around an environment, not by name
        warnings.filterwarnings("ignore", message=".*Not able to test alternative render modes")
        check_env(SingleAgentEnv(dialogue_v0.env(personas=PERSONAS), agent=learner))


@pytest.mark.parametrize("make_env", [dialogue_v0.env, dialogue_v0.raw_env])
def test_pettingzoo_finds_nothing_wrong(make_env):
    with warnings.catch_warnings():  # PettingZoo expects arrays; observations here are texts
        warnings.filterwarnings("ignore", message="(Observation|Action) (is not a NumPy|space for each agent)")
        warnings.filterwarnings("ignore", message="The observation_space and action_space methods have no")
        api_test(make_env(personas=PERSONAS), num_cycles=40)


def test_pettingzoo_finds_nothing_wrong_with_the_parallel_form_and_the_seed_at_work():
    parallel_api_test(dialogue_v0.parallel_env(personas=PERSONAS), num_cycles=40)
    seed_test(lambda: dialogue_v0.env(personas=PERSONAS), num_cycles=40)
    parallel_seed_test(lambda: dialogue_v0.parallel_env(personas=PERSONAS), num_cycles=40)


@pytest.mark.parametrize("kind", ["aec", "parallel"])
def test_pettingzoo_makes_it_by_name(kind):
    env = pettingzoo.make(kind, AEC_ID, role="student", max_lines=2)
    env.reset(seed=0)
    assert env.unwrapped.conversation.persona.role == "student"
    assert env.possible_agents == ["simulator_0", "task_0"]


def test_each_agent_acts_max_cycles_times():
    """What PettingZoo's max_cycles_test asks of the AEC form; its parallel half is about simultaneous moves."""
    env = dialogue_v0.env(personas=PERSONAS, max_cycles=4)
    env.reset(seed=0)
    acted, truncated = {"simulator_0": 0, "task_0": 0}, False
    for agent in env.agent_iter():
        over = env.terminations[agent] or env.truncations[agent]
        acted[agent] += not over
        truncated = env.truncations[agent]
        env.step(None if over else "Yes.")
    assert acted == {"simulator_0": 4, "task_0": 4}
    assert truncated
