"""One episode, without an environment around it."""

import numpy as np
import pytest

from persona_env.conversation import Probe
from persona_env.envs.episode import INCOMING_CHARACTERS, Episode
from tests.envs.parts import PERSONAS


def started(max_lines=2):
    episode = Episode(np.random.default_rng(0), max_lines)
    episode.start(PERSONAS[0])
    episode.hear("How are you?")
    return episode


def lines(episode):
    return [(message.side, message.text) for message in episode.conversation.messages]


def test_the_simulators_end_marker_ends_the_dialogue_and_is_taken_out():
    episode = started(max_lines=5)
    assert episode.complete("Good bye. [END] ").info["line"] == "Good bye."
    episode.take_probe()
    assert episode.terminated
    assert lines(episode)[-1] == ("simulator", "Good bye.")


@pytest.mark.parametrize(("reply", "last"), [("Good bye. [END]", "Good bye."), ("[END]", "Tired.")])
def test_the_task_agents_end_marker_ends_the_dialogue_and_is_taken_out(reply, last):
    episode = started(max_lines=5)
    episode.complete("Tired.")
    episode.take_probe()
    episode.hear(reply)
    assert episode.terminated
    assert lines(episode)[-1][1] == last


def test_the_task_agent_cannot_close_before_the_simulator_spoke():
    episode = Episode(np.random.default_rng(0), 2)
    episode.start(PERSONAS[0])
    assert episode.hear("Hello. [END]") == "Hello."
    assert not episode.over


def test_an_answer_leaves_no_trace_and_an_end_marker_in_it_ends_nothing():
    episode = started()
    probe = Probe("How long do you sleep?", "four hours")
    episode.complete("Tired.")
    episode.add_probe(probe)
    before = lines(episode)
    episode.take_probe()
    assert episode.view().messages[-1].text == "How long do you sleep?"
    assert episode.complete("Four. [END]").info == {"probe": probe, "answer": "Four."}
    episode.take_probe()
    assert (lines(episode), episode.line_count, episode.over) == (before, 1, False)


def test_the_end_waits_for_the_last_answer():
    episode = started(max_lines=1)
    episode.complete("Tired.")
    episode.add_probe(Probe("One?", "one"))
    episode.add_probe(Probe("Two?", "two"))
    ended = []
    for _ in range(3):
        episode.take_probe()
        ended.append(episode.terminated)
        if episode.probe:
            episode.complete("Two.")
    assert ended == [False, False, True]


def test_an_endless_reply_is_cut():
    episode = Episode(np.random.default_rng(0), 2)
    episode.start(PERSONAS[0])
    assert len(episode.hear("a" * 10**5)) == INCOMING_CHARACTERS
