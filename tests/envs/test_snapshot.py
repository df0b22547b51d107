"""Going back leaves no trace, in every form and at every kind of point."""

import pickle
from typing import Any

import numpy as np
import pytest

from persona_env.envs import SingleAgentEnv
from tests.envs.parts import (
    FIRST,
    LINES,
    PERSONAS,
    TOKENS,
    SleepProbe,
    Therapist,
    make,
    make_aec,
    make_vec,
    policies,
    policy,
)

OPTIONS = {"probe_fns": (SleepProbe(2), SleepProbe(3))}


class Alone:
    """A single environment that begins anew when a dialogue ends."""

    def __init__(self, env):
        self.env = env

    def reset(self):
        self.observation = self.env.reset(seed=4, options=OPTIONS)[0]

    def step(self) -> Any:
        self.observation, *rest = self.env.step(policy(self.observation))
        again = self.env.reset(options=OPTIONS) if rest[1] or rest[2] else None
        if again:
            self.observation = again[0]
        return self.observation, rest, again

    def restore(self, state):
        self.observation = self.env.unwrapped.restore(state)
        return self.observation


class Rows(Alone):
    """A vector environment."""

    def step(self) -> Any:
        self.observation, *rest = self.env.step(policies(self.observation, self.env.num_envs))
        return self.observation, rest


class Turns(Alone):
    """A two-agent environment, both agents played by the policy."""

    def reset(self):
        self.env.reset(seed=4, options=OPTIONS)

    def step(self) -> Any:
        if not self.env.agents:
            self.env.reset(options=OPTIONS)
        agent = self.env.agent_selection
        observation, reward, terminated, truncated, info = self.env.last()
        self.env.step(None if terminated or truncated else policy(observation))
        return agent, observation, reward, terminated, truncated, dict(info)

    def restore(self, state):
        self.env.unwrapped.restore(state)


FORMS = {
    "lines": (lambda: Alone(make(LINES)), 14),
    "tokens": (lambda: Alone(make(TOKENS)), 60),
    "rows of lines": (lambda: Rows(make_vec(LINES)), 14),
    "rows of tokens": (lambda: Rows(make_vec(TOKENS)), 60),
    "two agents": (lambda: Turns(make_aec()), 25),
    "simulator's side": (lambda: Alone(SingleAgentEnv(make_aec(), partner=Therapist())), 14),
    "task agent's side": (lambda: Alone(SingleAgentEnv(make_aec(), agent="task_0", partner=Therapist())), 14),
}


def same(one, other):
    """Equality of nested results with arrays in them."""
    if isinstance(one, np.ndarray) and one.dtype != object:
        return np.array_equal(one, other)
    if isinstance(one, list | tuple | np.ndarray):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return one == other


@pytest.mark.parametrize("form", FORMS)
def test_from_every_point_the_future_is_the_same_again_and_in_another_environment(form):
    new, steps = FORMS[form]
    player, other = new(), new()
    player.reset()
    other.reset()
    states, seen = [], []
    for _ in range(steps):
        states.append(pickle.dumps(player.env.unwrapped.snapshot()))
        seen.append(player.step())
    assert same(seen[2:4], seen[2:4])
    assert not same(seen[2:4], seen[3:5])
    for start in range(0, steps, 1 if steps < 30 else 3):
        for one in (player, other):
            observation = one.restore(pickle.loads(states[start]))
            if start and form != "two agents":
                assert same(observation, seen[start - 1][0])
            assert same([one.step() for _ in range(min(8, steps - start))], seen[start : start + 8]), start


def test_one_point_can_be_branched_into_many_rows():
    alone, envs = make(TOKENS), make_vec(TOKENS, 3)
    alone.reset(seed=1)
    alone.step(FIRST + 70)
    envs.reset(seed=9)
    contexts = envs.unwrapped.restore([alone.unwrapped.snapshot()] * 3)
    expected = alone.step(FIRST + 71)[0]
    branched = envs.step([FIRST + 71, FIRST + 72, FIRST + 71])[0]
    assert len({context.tobytes() for context in contexts}) == 1
    assert [np.array_equal(row, expected) for row in branched] == [True, False, True]


def test_a_snapshot_that_does_not_fit_is_refused_and_one_of_tokens_fits_lines():
    lines, tokens, envs = make(LINES), make(TOKENS), make_vec(LINES, 2)
    for env in (lines, tokens, envs):
        env.reset(seed=0, options={"persona": PERSONAS[1]})
    with pytest.raises(ValueError, match=r"^Expected a snapshot of at most \d+ tokens, got none"):
        tokens.unwrapped.restore(lines.unwrapped.snapshot())
    with pytest.raises(ValueError, match=r"^Expected 2 states, got 1"):
        envs.unwrapped.restore([lines.unwrapped.snapshot()])
    ended = make(LINES, max_lines=1).unwrapped
    ended.reset(seed=0)
    ended.step("Hm.")
    before = envs.unwrapped.snapshot()
    with pytest.raises(ValueError, match=r"^Expected dialogues that go on, got one that has ended"):
        envs.unwrapped.restore([before[0], ended.snapshot()])
    assert envs.unwrapped.snapshot() == before
    tokens.step(FIRST)
    lines.unwrapped.restore(tokens.unwrapped.snapshot())
    assert lines.unwrapped.conversation == tokens.unwrapped.conversation, "a dialogue of tokens goes on in lines"
