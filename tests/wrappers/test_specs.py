"""A stack of rewards can be written down, sent elsewhere and made again."""

import copy
import json
import pickle

import gymnasium as gym
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env

import persona_wrappers as pw
from persona_env.judges import load_judge
from tests.wrappers.playing import CLASSES, NAMES, gym_env, play, stacked


class Uncopyable:
    """The exact judge, holding something that cannot be copied, as a model or a connection."""

    def __init__(self):
        self.inside = load_judge("oracle")

    def judge(self, questions):
        return self.inside.judge(questions)

    def __deepcopy__(self, memo):
        raise RuntimeError("a connection is not to be copied")


def spec_of(env):
    assert env.spec is not None
    return env.spec


def full_stack():
    env = stacked(gym_env(), NAMES[:2])
    env = pw.QuestionAnswerReward(env, weight=0.1, every=2, within=3, held_out=True)
    return pw.RepetitionPenalty(pw.CopyPenalty(pw.RelevanceReward(env)), weight=0.2, threshold=None)


def test_a_stack_survives_its_spec_in_json_and_pickled():
    env = full_stack()
    spec = spec_of(env)
    expected = [p.rewards for p in play(env)]
    for kept in (EnvSpec.from_json(json.loads(json.dumps(spec.to_json()))), pickle.loads(pickle.dumps(spec))):
        again = gym.make(kept)
        assert str(again) == str(env)
        assert [p.rewards for p in play(again)] == expected
        assert again.get_wrapper_attr("reward_function").terms[0].metric.threshold is None


def test_a_judge_that_cannot_be_copied_is_shared_by_the_specs_copies():
    judge = Uncopyable()
    env = pw.LineToLineReward(pw.PromptToLineReward(gym_env(), judge=judge), judge=judge)
    again = gym.make(copy.deepcopy(spec_of(env)))
    assert [p.rewards for p in play(again)] == [p.rewards for p in play(env)]
    recorded = spec_of(env).additional_wrappers[0].kwargs
    assert recorded is not None
    assert recorded["judge"].inner is judge


def test_wrappers_can_be_registered_with_an_environment():
    spec = pw.PromptToLineReward.wrapper_spec(weight=0.5)
    env = gym.make(EnvSpec("My-v0", entry_point="persona_env.envs:DialogueEnv", additional_wrappers=(spec,)))
    assert isinstance(env, pw.PromptToLineReward)
    assert env.weights == {"prompt_to_line": 0.5}


@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version")
@pytest.mark.parametrize("name", NAMES)
def test_gymnasiums_own_check_passes_around_every_reward(name):
    more = {"every": 1} if name == "question_answer" else {}
    check_env(getattr(pw, CLASSES[name])(gym_env(), **more), skip_render_check=True)
