"""Either side learns, against the other."""

import pettingzoo.utils
import pytest

from persona_env import dialogue_v0
from persona_env.envs import SingleAgentEnv
from persona_env.speakers import Speaker
from tests.envs.parts import PERSONAS, SleepProbe, Therapist


class Patient(Speaker):
    """A simulator that samples: its lines depend on the view's seed."""

    def __init__(self):
        self.views = []

    def reply(self, views):
        self.views += views
        return [f"Line {len(view.messages)} of {view.system[8:11]}, {view.seed % 1000}." for view in views]


class Bonus(pettingzoo.utils.BaseWrapper):
    """Pays both agents 1.0 for each line of the simulator, as the wrappers of rewards do."""

    def reset(self, seed=None, options=None):
        super().reset(seed=seed, options=options)
        self._cumulative_rewards = dict.fromkeys(self.env.agents, 0.0)

    def step(self, action):
        agent = self.env.agent_selection
        over = self.env.terminations[agent]
        super().step(action)
        if over:
            return
        self._cumulative_rewards[agent] = 0.0
        if agent == "simulator_0" and "line" in self.env.infos[agent]:
            self._cumulative_rewards = {name: paid + 1.0 for name, paid in self._cumulative_rewards.items()}


def played(side, seed=None, line="Why?"):
    observation, _ = side.reset(seed=seed)
    rewards, info, ended = [], {}, [False]
    while not any(ended):
        observation, reward, *ended, info = side.step(line)
        rewards.append(reward)
    return observation, rewards, info


@pytest.mark.parametrize("learner", ["simulator_0", "task_0"])
def test_the_same_code_trains_either_seat(learner):
    partner = Therapist() if learner == "simulator_0" else Patient()
    side = SingleAgentEnv(Bonus(dialogue_v0.env(personas=PERSONAS, max_lines=3)), agent=learner, partner=partner)
    observation, rewards, info = played(side, seed=1)
    assert rewards == [1.0, 1.0, 1.0]
    assert ("line" if learner == "simulator_0" else "reply") in info
    assert observation["dialogue"].count("you: Why?") == 3


def test_a_trained_simulator_is_heard_by_the_task_agent_that_learns():
    patient = Patient()
    side = SingleAgentEnv(dialogue_v0.env(personas=PERSONAS, max_lines=2), agent="task_0", partner=patient)
    first, _, _ = played(side, seed=1)
    assert first["dialogue"].splitlines()[1].startswith("patient: Line 1 of ")
    assert patient.views[0].system == side.conversation.persona.prompt
    assert len({view.seed for view in patient.views}) == 2
    second, again = (played(side, seed)[0] for seed in (None, 1))
    assert first == again != second


def test_the_partner_answers_the_questions_on_the_side():
    side = SingleAgentEnv(dialogue_v0.env(personas=PERSONAS, max_lines=2), agent="task_0", partner=Patient())
    side.reset(seed=0, options={"probe_fns": (SleepProbe(1),)})
    side.step("Hello.")
    assert not side.dialogue.probing
    assert side.dialogue.infos["simulator_0"]["answer"].startswith("Line 3")


def test_an_unknown_agent_or_environment_is_refused():
    with pytest.raises(ValueError, match=r"^Expected agent simulator_0 or task_0, got 'judge_0'"):
        SingleAgentEnv(dialogue_v0.env(personas=PERSONAS), agent="judge_0")
    with pytest.raises(ValueError, match=r"^Expected an environment of persona_env\.dialogue_v0, got"):
        SingleAgentEnv(pettingzoo.utils.BaseWrapper(pettingzoo.AECEnv()))
