"""One action is one token."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded

from tests.envs.parts import END, FIRST, HEARD, PAD, PERSONAS, TOKENS, ByteChat, SleepProbe, make, say

CHAT = ByteChat()


def real(observation):
    return observation[observation != PAD].tolist()


def test_the_context_is_the_chat_with_the_learners_own_ids():
    env = make(TOKENS)
    observation, info = env.reset(seed=0, options={"persona": "p1"})
    heard = env.unwrapped.conversation.messages[0].text
    opening = CHAT.opening(PERSONAS[1].prompt, heard)
    assert info == {"persona": PERSONAS[1]}
    assert real(observation) == opening
    broken = FIRST + 0xC3  # the first half of a letter: no encoding of its text gives it back
    assert real(env.step(broken)[0]) == [*opening, broken]
    observation, *_, info = env.step(END)
    reply = env.unwrapped.conversation.messages[-1].text
    assert info["line"] == "\N{REPLACEMENT CHARACTER}"
    assert real(observation) == [*opening, broken, END, *CHAT.incoming(reply)]


def test_a_question_stands_behind_the_dialogue_and_is_gone_after_the_answer():
    env = make(TOKENS)
    before = real(env.reset(seed=0, options={"probe_fns": (SleepProbe(1),)})[0])
    asked = real(say(env, "Badly.")[0])
    assert asked == [*before, *CHAT.own("Badly."), *CHAT.incoming("How long do you sleep?")]
    observation, *_, info = say(env, "Four.")
    reply = env.unwrapped.conversation.messages[-1].text
    assert info["answer"] == "Four."
    assert real(observation) == [*before, *CHAT.own("Badly."), *CHAT.incoming(reply)]


def test_control_tokens_and_overlong_lines_end_a_line():
    env = make(TOKENS)
    env.reset(seed=0)
    assert env.step(HEARD)[4]["line"] == ""
    for _ in range(11):
        assert env.step(FIRST + 97)[4] == {}
    assert env.step(FIRST + 97)[4]["line"] == "a" * 12


def test_observations_belong_to_the_caller():
    env = make(TOKENS)
    first, _ = env.reset(seed=0)
    kept = first.copy()
    env.step(FIRST + 97)
    assert np.array_equal(first, kept)


@pytest.mark.parametrize("action", ["a", 3.0, -1, 10**6, None, [3]])
def test_an_action_that_is_no_token_id_is_refused_and_changes_nothing(action):
    env = make(TOKENS).unwrapped
    env.reset(seed=0)
    before = env.snapshot()
    with pytest.raises(ValueError, match=r"^Expected 1 token ids in"):
        env.step(action)
    assert env.snapshot() == before


def test_nothing_is_said_before_and_after_a_dialogue():
    env = make(TOKENS, max_lines=1).unwrapped
    with pytest.raises(ResetNeeded):
        env.step(END)
    env.reset(seed=0)
    assert env.step(END)[2]
    with pytest.raises(ResetNeeded):
        env.step(END)


def test_the_embedded_simulators_tokens_are_read_and_written():
    env: Any = gym.make(TOKENS, max_lines=2, max_tokens=12)
    observation, _ = env.reset(seed=0)
    chat = env.unwrapped.chat
    assert chat.pad_id == env.observation_space.pad_id == observation[-1]
    line = "I sleep four hours a night."
    observation, _, terminated, truncated, info = [env.step(token) for token in chat.own(line)][-1]
    assert (info["line"], terminated, truncated) == (line, False, False)
    assert env.observation_space.contains(observation)
