"""The token contexts of episodes, one array for all of them, and the environment over them."""

from typing import Any

import numpy as np
import pytest

from persona_env.envs import TokenDialogueEnv
from persona_env.envs.token_episode import TokenContexts, TokenEpisode
from persona_env.speakers.chat_format import ChatFormat
from tests.envs.parts import (
    END,
    FIRST,
    HEARD,
    PAD,
    PERSONAS,
    SAY,
    STOP,
    TOKENS,
    ByteChat,
    SleepProbe,
    Therapist,
    make,
    say,
)
from tests.speakers import small

CHAT: Any = ByteChat()
A, B = FIRST + ord("a"), FIRST + ord("b")


def table(number=1, context=12, max_tokens=3):
    return TokenContexts(number, CHAT, context, max_tokens)


def context(table, index=0):
    return table.ids[index, : table.lengths[index]].tolist()


def test_tokens_are_written_behind_each_context_and_an_end_completes_a_line():
    two = table(number=2)
    two.append(0, [HEARD, SAY])
    assert two.push([A, B]) == []
    assert two.push([B, END]) == [1]
    assert two.ids.tolist() == [[HEARD, SAY, A, B, *[PAD] * 8], [B, END, *[PAD] * 10]]
    assert (two.text(0), two.text(1)) == ("ab", "b")


@pytest.mark.parametrize(
    ("tokens", "written"),
    [
        ([A, STOP], [A, STOP]),  # the other end token stays as it was sampled
        ([A, A, A], [A, A, A, END]),  # a line of full length is given an end
        ([A, A, END], [A, A, END]),  # and not another
        *(([A, control], [A, END]) for control in (PAD, HEARD, SAY)),  # a control token is never written down
    ],
)
def test_a_line_ends_with_one_end_token(tokens, written):
    one = table(max_tokens=3)
    assert [one.push([token]) for token in tokens] == [[]] * (len(tokens) - 1) + [[0]]
    assert context(one) == written
    assert one.text(0) == "a" * tokens.count(A)


@pytest.mark.parametrize("actions", [[1.0], [FIRST + 256], [-1], ["a"], [[1]], [1, 2], 1, [True], None])
def test_what_is_no_token_id_for_each_row_is_refused_in_one_line(actions):
    one = table()
    with pytest.raises(ValueError, match=r"^Expected 1 token ids in \[0, 261\), got .*: give one integer"):
        one.push(actions)
    assert context(one) == []


def test_a_heard_piece_has_room_if_a_whole_line_fits_behind_it():
    one = table(context=12, max_tokens=3)
    assert one.has_room(0, [A] * 8)
    assert not one.has_room(0, [A] * 9)


def episode_of(context, max_tokens=3):
    episode = TokenEpisode(np.random.default_rng(0), 9, table(context=context, max_tokens=max_tokens), 0)
    episode.start(PERSONAS[0])
    return episode


def test_a_dialogue_without_room_for_the_next_line_is_truncated_and_still_shows_what_was_said():
    opening = len(CHAT.opening(PERSONAS[0].prompt, "Hi"))
    episode = episode_of(context=opening + 4 + len(CHAT.incoming("Why?")) + 4)
    episode.hear("Hi")
    ended = []
    for _ in range(2):
        episode.contexts.push([A])
        episode.contexts.push([END])
        episode.complete(episode.contexts.text(0))
        episode.take_probe()
        episode.hear("Why?")
        ended.append((episode.terminated, episode.truncated))
    assert ended == [(False, False), (False, True)]
    assert context(episode.contexts)[-2:] == [A, END]
    assert episode.conversation.messages[-1].text == "Why?"


def test_an_opening_without_room_is_an_error_that_names_the_context_needed():
    needed = len(CHAT.opening(PERSONAS[0].prompt, "Hi")) + 4
    episode_of(context=needed).hear("Hi")
    with pytest.raises(ValueError, match=rf"^Expected context >= {needed} for persona 'p0', got {needed - 1}:"):
        episode_of(context=needed - 1).hear("Hi")


def real(observation):
    return observation[observation != PAD].tolist()


def test_the_context_is_the_chat_with_the_learners_own_ids_and_a_question_is_gone_after_the_answer():
    env = make(TOKENS)
    observation, info = env.reset(seed=0, options={"persona": "p1", "probe_fns": (SleepProbe(1),)})
    heard = env.unwrapped.conversation.messages[0].text
    opening = CHAT.opening(PERSONAS[1].prompt, heard)
    assert info == {"persona": PERSONAS[1]}
    assert real(observation) == opening
    broken = FIRST + 0xC3  # the first half of a letter: no encoding of its text gives it back
    assert real(env.step(broken)[0]) == [*opening, broken]
    asked, *_, info = env.step(END)
    assert info["line"] == "\N{REPLACEMENT CHARACTER}"
    assert real(asked) == [*opening, broken, END, *CHAT.incoming("How long do you sleep?")]
    observation, *_, info = say(env, "Four.")
    reply = env.unwrapped.conversation.messages[-1].text
    assert info["answer"] == "Four."
    assert real(observation) == [*opening, broken, END, *CHAT.incoming(reply)]


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("<think>Why?</think>I sleep.", "I sleep."),
        ("Why?</think>I sleep.", "I sleep."),
        ("<think>Why?", ""),
        ("I.", "I."),
    ],
)
def test_a_learners_thought_is_in_its_context_and_not_in_its_line(said, line):
    chat = ChatFormat.derive(small.tokenizer(small.CHATML))
    env = TokenDialogueEnv(simulator=chat, personas=PERSONAS, task_agent=Therapist(), max_tokens=40)
    before, _ = env.reset(seed=0)
    *ids, end = [*chat.tokenizer.encode(said, add_special_tokens=False), chat.end_id]
    for token in ids:
        env.step(token)
    observation, *_, info = env.step(end)
    assert info["line"] == info["conversation"].lines[-1] == line
    begin = int((before != chat.pad_id).sum())
    assert observation[begin : begin + len(ids) + 1].tolist() == [*ids, end]
