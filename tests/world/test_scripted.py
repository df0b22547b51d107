from collections import Counter
from itertools import pairwise

import pytest

from persona_env.conversation import Message, Side, View
from persona_env.roles import BUNDLED
from persona_env.world import personas
from persona_env.world.reading import read_asked, read_line
from persona_env.world.scripted import ScriptedSpeaker
from tests.world.talks import played


def heard(*lines: str, side: Side = "task", seed: int = 0, system: str = "You are Mei.") -> View:
    """What a side of a patient's dialogue is asked: the task agent opens it."""
    sides: tuple[Side, ...] = ("task", "simulator")
    return View("patient", side, system, tuple(Message(sides[i % 2], text) for i, text in enumerate(lines)), seed)


def said(*lines: str, side: Side = "task", count: int = 400, system: str = "You are Mei.") -> list[str]:
    return ScriptedSpeaker().reply([heard(*lines, side=side, seed=seed, system=system) for seed in range(count)])


def test_a_reply_depends_on_its_view_and_nothing_else() -> None:
    talks = [played(personas(role)[i], 3, i) for role in BUNDLED for i in range(10)]
    asked = [talk.view("task", seed) for seed, talk in enumerate(talks)]
    asked += [talk.with_reply("Who are you?").view("simulator", 5) for talk in talks]
    together = ScriptedSpeaker().reply(asked)
    assert together == [ScriptedSpeaker().reply([view])[0] for view in asked]
    assert together[::-1] == ScriptedSpeaker().reply(asked[::-1])


def test_no_task_line_is_longer_than_the_longest_reply() -> None:
    longest = ScriptedSpeaker().longest_reply or ""
    assert len(longest) < 100
    talks = [played(personas(role)[seed], 8, seed) for role in BUNDLED for seed in range(30)]
    assert all(len(talk.heard_before(i)) <= len(longest) for talk in talks for i in range(8))


@pytest.mark.parametrize("role", BUNDLED)
def test_the_task_agent_always_asks_something_it_can_ask_the_role(role: str) -> None:
    for seed in range(20):
        talk = played(personas(role)[seed], 8, seed)
        keys = [found.key for i in range(8) if (found := read_asked(talk.heard_before(i)))]
        assert len(keys) == 8
        assert all(a != b for a, b in pairwise(keys))


def test_the_task_agent_answers_an_odd_line_too() -> None:
    for odd in ("", "😀", "What do you mean?", "I'm from Rome.", "<|end|>"):
        assert all(map(read_asked, said("Hello.", odd, count=5)))


def test_the_task_agent_comes_back_most_to_what_was_volunteered() -> None:
    lines = ("Who are you?", "I go by Mei, and about four hours.", "How do you feel today?", "Pretty numb.")
    found = Counter(a.key for reply in said(*lines, count=600) if (a := read_asked(reply)))
    assert found["sleep"] > 1.7 * found["problem"]  # .35 x 3/5 + .65 / 7 = .30 against .09 expected
    assert "mood" not in found


def test_the_simulator_answers_what_it_does_not_understand_with_a_fact_of_its_own() -> None:
    (line,) = said("Lovely weather.", side="simulator", count=1)
    assert read_line(line, "patient").facts[0] == ("name", "Mei")


def test_a_simulator_without_a_persona_of_this_world_declines() -> None:
    assert read_line(*said(side="simulator", count=1, system="A sailor."), "patient").hedges


def test_a_role_of_another_world_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected a role of the embedded world"):
        ScriptedSpeaker().reply([View("dentist", "task", "", (), 0)])
