"""One row, without an environment around it."""

import numpy as np
import pytest
from gymnasium.error import ResetNeeded

from persona_env.conversation import Probe
from persona_env.envs.episode import HEARD_CHARACTERS, Episode
from tests.envs.parts import CAST


def started(max_lines=2):
    row = Episode(np.random.default_rng(0), max_lines)
    row.start(CAST[0])
    row.hear("How are you?")
    return row


def lines(row):
    return [(message.side, message.text) for message in row.conversation.messages]


def test_a_row_without_a_dialogue_asks_for_a_reset():
    row = Episode(np.random.default_rng(0), 2)
    with pytest.raises(ResetNeeded, match="call reset"):
        row.check_goes_on()
    with pytest.raises(ResetNeeded, match="call reset"):
        row.view()


def test_a_completed_line_is_told_with_the_dialogue_up_to_it():
    row = started()
    info = row.complete("  Tired.\n")
    assert (info["line"], info["line_index"]) == ("Tired.", 0)
    assert info["conversation"].lines == ("Tired.",)
    row.take_probe()
    row.hear("Since when?")
    assert lines(row)[1:] == [("simulator", "Tired."), ("task", "Since when?")]
    assert info["conversation"].messages == row.conversation.messages[:2]


def test_the_last_line_ends_the_dialogue():
    row = started(max_lines=1)
    row.complete("Tired.")
    assert not row.over
    row.take_probe()
    assert (row.terminated, row.truncated) == (True, False)


def test_an_empty_line_is_a_line():
    row = started()
    assert row.complete("")["line"] == ""
    assert row.line_count == 1


def test_the_simulators_end_marker_ends_the_dialogue_and_is_taken_out():
    row = started(max_lines=5)
    assert row.complete("Good bye. [END] ")["line"] == "Good bye."
    row.take_probe()
    assert row.terminated
    assert lines(row)[-1] == ("simulator", "Good bye.")


@pytest.mark.parametrize(("reply", "last"), [("Good bye. [END]", "Good bye."), ("[END]", "Tired.")])
def test_the_task_agents_end_marker_ends_the_dialogue_and_is_taken_out(reply, last):
    row = started(max_lines=5)
    row.complete("Tired.")
    row.take_probe()
    row.hear(reply)
    assert row.terminated
    assert lines(row)[-1][1] == last


def test_the_task_agent_cannot_close_before_the_simulator_spoke():
    row = Episode(np.random.default_rng(0), 2)
    row.start(CAST[0])
    assert row.hear("Hello. [END]") == "Hello."
    assert not row.over


def test_an_answer_leaves_no_trace_and_an_end_marker_in_it_ends_nothing():
    row = started()
    row.complete("Tired.")
    row.pending_probes.append(Probe("How long do you sleep?", "four hours"))
    before = lines(row)
    row.take_probe()
    assert row.view().messages[-1].text == "How long do you sleep?"
    assert row.complete("Four. [END]") == {
        "probe": Probe("How long do you sleep?", "four hours"),
        "answer": "Four.",
    }
    row.take_probe()
    assert (lines(row), row.line_count, row.over) == (before, 1, False)


def test_the_end_waits_for_the_last_answer():
    row = started(max_lines=1)
    row.complete("Tired.")
    row.pending_probes.extend([Probe("One?", "one"), Probe("Two?", "two")])
    ended = []
    for _ in range(3):
        row.take_probe()
        ended.append(row.terminated)
        if row.probe:
            row.complete("Two.")
    assert ended == [False, False, True]


def test_an_endless_reply_is_cut():
    row = Episode(np.random.default_rng(0), 2)
    row.start(CAST[0])
    assert len(row.hear("a" * 10**5)) == HEARD_CHARACTERS
