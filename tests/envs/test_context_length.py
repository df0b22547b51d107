"""How long a context must be."""

from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import persona_wrappers as pw
from persona_env.envs.context_length import context_length, load_format
from persona_env.envs.engine import DialogueEngine
from persona_env.envs.registration import env_ids
from persona_env.persona import Persona, QAItem
from persona_env.speakers import Speaker
from tests.envs.parts import END, PAD, PERSONAS, TOKENS, ByteChat, SleepProbe, Therapist, make, make_vec

CHAT: Any = ByteChat()


class Agent(Speaker):
    """A task agent that says how long its replies are at most, in texts or tokens, or does not."""

    def __init__(self, longest_reply=None, max_tokens=None):
        self.longest_reply, self.max_tokens = longest_reply, max_tokens

    def reply(self, views):
        return [self.longest_reply or "" for _ in views]


def stage(task_agent, max_lines=2, max_tokens=5):
    return DialogueEngine(
        "patient", personas=PERSONAS, task_agent=task_agent, max_lines=max_lines, max_tokens=max_tokens
    )


def longest():
    """By hand: the opening (longest persona, a reply and 2 control tokens), 2 lines of 5 and an end, 1 reply,
    a question of 22 letters and its answer."""
    reply = len(Therapist.longest_reply or "") + 2
    return max(len(p.prompt) for p in PERSONAS) + reply + 2 * 6 + reply + (22 + 2) + 6


def test_a_context_that_cannot_hold_the_longest_dialogue_is_refused_where_it_is_known():
    engine, needed = stage(Therapist()), longest()
    assert context_length(CHAT, engine, needed) == needed <= context_length(CHAT, engine, None)
    for context in (9, needed - 1):
        said = rf"^Expected context >= {needed} for 2 lines of 5 tokens, got {context}: "
        with pytest.raises(ValueError, match=said):
            context_length(CHAT, engine, context)


def test_where_replies_are_of_unknown_length_only_the_opening_and_a_line_are_asked_for():
    needed = max(len(p.prompt) for p in PERSONAS) + 2 + 6
    assert context_length(CHAT, stage(Agent()), needed) == needed
    with pytest.raises(ValueError, match=f"Expected context >= {needed}"):
        context_length(CHAT, stage(Agent()), needed - 1)


@pytest.mark.parametrize("max_lines", [1, 2])
def test_the_computed_context_has_room_for_the_reply_that_opens_the_dialogue(max_lines):
    persona, line = max(len(p.prompt) for p in PERSONAS), 6
    engine = stage(Agent(max_tokens=96), max_lines)
    assert context_length(CHAT, engine, None) > persona + max_lines * (96 + line) + 24 + line


def test_the_computed_context_has_room_for_the_wordings_of_evaluation():
    item = QAItem("four hours", ("Sleep?",), held_out_wordings=("How long do you sleep? " * 9,))
    ann = Persona("p1", "patient", "Ann", "You are Ann.", questions=(item,))
    inside = make(TOKENS, personas=[ann], task_agent=Agent(), max_lines=1, max_tokens=4, context=None)
    env: Any = pw.QuestionAnswerReward(inside, every=1, held_out=True)
    env.reset(seed=0)
    ended = [False]
    while not any(ended):
        _, _, *ended, _ = env.step(70)
    assert (env.judged + env.invalid, env.unwrapped.skipped_probes) == (1, 0)


def test_the_smallest_context_allowed_holds_every_line_and_question():
    """The longest persona, full lines, a question after each: nothing is truncated or skipped."""
    agent, longest_persona = Agent("And what about this, then?"), max(PERSONAS, key=lambda p: len(p.prompt))
    most = dict(max_lines=3, max_tokens=30, task_agent=agent, personas=[longest_persona])
    with pytest.raises(ValueError, match="Expected context") as caught:
        make(TOKENS, context=1, **most)
    smallest = int(str(caught.value).split()[3])
    env = make(TOKENS, context=smallest, **most)
    env.reset(options={"probe_fns": (SleepProbe(1),)})
    steps, ended, fullest = 0, (False, False), 0
    while not any(ended) and steps < 999:
        observation, _, *ended, _ = env.step(70)
        steps, fullest = steps + 1, max(fullest, int((observation != PAD).sum()))
    assert (ended, steps, env.unwrapped.skipped_probes) == ([True, False], 2 * 3 * 30, 0)
    assert fullest == smallest - 2  # all but the last answer's last token and its end


def test_the_longest_of_many_personas_is_found_wherever_it_stands():
    """It has fewer letters than the others, and more tokens."""
    many = [Persona(f"p{i}", "patient", "Ann", f"You are Ann, number {1000 + i}.") for i in range(2000)]
    many[1] = Persona("p1", "patient", "Ann", "é" * 20)
    found = [context_length(CHAT, DialogueEngine("patient", personas=personas), None) for personas in (many, many[1:2])]
    assert found[0] == found[1]


@pytest.mark.parametrize("env_id", [name for name, (_, tokens) in env_ids().items() if tokens])
def test_the_computed_context_holds_full_lines_of_the_embedded_world(env_id):
    envs: Any = gym.make_vec(env_id, num_envs=32, max_lines=6)
    envs.reset(seed=0, options={"probe_fns": (SleepProbe(6),)})
    token = max(set(range(envs.unwrapped.chat.vocabulary)) - {*envs.unwrapped.chat.forbidden_ids})
    ended = 0
    for _ in range(7 * 24):
        _, _, terminated, truncated, _ = envs.step(np.full(32, token))
        ended += terminated.sum()
        assert not truncated.any()
    assert (ended, envs.unwrapped.skipped_probes) == (32, 0)


def test_questions_without_room_are_skipped_counted_and_leave_the_dialogue_alone():
    context = make(TOKENS).observation_space.shape[0]
    long = SleepProbe(1, "How long do you really sleep? " * 20)
    envs = make_vec(TOKENS, 2, context=context)
    envs.reset(seed=0, options={"probe_fns": (SleepProbe(2), long, long)})
    skipped = 0
    for _ in range(9):
        _, _, _, truncated, info = envs.step([END, END])
        skipped += int(info.get("final_info", info).get("skipped_probes", [0])[0])
        assert not truncated.any()
    # Two dialogues of three lines and an answer, with two long questions after each line; and a line.
    assert skipped == 2 * 6 + 2
    assert envs.unwrapped.skipped_probes == 2 * skipped


def test_a_format_is_taken_from_a_spec_a_model_or_as_it_is():
    model: Any = SimpleNamespace(chat=CHAT)
    assert load_format(CHAT) is load_format(model) is CHAT
    assert load_format("tiny").decode(load_format("tiny").incoming("Hi"))
    with pytest.raises(ValueError, match="Expected"):
        load_format("huge")
