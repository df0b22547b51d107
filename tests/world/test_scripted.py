import random
from collections import Counter
from itertools import pairwise

import pytest

from persona_env.conversation import Conversation, Message, View
from persona_env.roles import BUNDLED
from persona_env.speakers import Speaker, load_speaker
from persona_env.world import personas
from persona_env.world.reading import read_asked, read_line
from persona_env.world.scripted import ScriptedSpeaker


def played(seed: int, lines: int = 8, role: str = "patient") -> Conversation:
    talk, speaker, rng = Conversation(personas(role)[seed]), ScriptedSpeaker(), random.Random(seed)
    for _ in range(lines):
        talk = talk.with_reply(speaker.reply([talk.view("task", rng.randrange(2**63))])[0])
        talk = talk.with_line(speaker.reply([talk.view("simulator", rng.randrange(2**63))])[0])
    return talk


def views() -> list[View]:
    talks = [played(i, 3, role) for role in BUNDLED for i in range(10)]
    rng = random.Random(0)
    tasks = [talk.view("task", rng.randrange(2**63)) for talk in talks]
    return [*tasks, *(talk.with_reply("Who are you?").view("simulator", 5) for talk in talks)]


def test_the_scripted_speaker_is_a_speaker_with_a_name() -> None:
    assert isinstance(load_speaker("scripted"), ScriptedSpeaker)
    assert isinstance(ScriptedSpeaker(), Speaker)


def test_a_reply_depends_on_its_view_and_nothing_else() -> None:
    asked = views()
    together = ScriptedSpeaker().reply(asked)
    assert together == [ScriptedSpeaker().reply([view])[0] for view in asked]
    assert together[::-1] == ScriptedSpeaker().reply(asked[::-1])


def test_no_task_line_is_longer_than_the_longest_reply() -> None:
    longest = ScriptedSpeaker().longest_reply or ""
    assert len(longest) < 100
    talks = [played(seed, 8, role) for role in BUNDLED for seed in range(30)]
    assert all(len(talk.heard_before(i)) <= len(longest) for talk in talks for i in range(8))


def test_another_seed_gives_another_reply() -> None:
    view = Conversation(personas("student")[0]).view("task")
    replies = {ScriptedSpeaker().reply([View(view.role, view.side, view.system, (), seed)])[0] for seed in range(50)}
    assert len(replies) > 20


@pytest.mark.parametrize("role", BUNDLED)
def test_the_task_agent_always_asks_something_it_can_ask_the_role(role: str) -> None:
    for seed in range(20):
        talk = played(seed, 8, role)
        asked = [read_asked(talk.heard_before(i)) for i in range(8)]
        assert all(found is not None for found in asked)
        keys = [found.key for found in asked if found]
        assert all(a != b for a, b in pairwise(keys))


def test_the_task_agent_answers_an_odd_line_too() -> None:
    for odd in ("", "😀", "What do you mean?", "I'm from Rome.", "<|end|>"):
        view = View("patient", "task", "", (Message("task", "Hello."), Message("simulator", odd)), 1)
        assert read_asked(ScriptedSpeaker().reply([view])[0])


def test_the_task_agent_grows_warm_after_a_drift_line() -> None:
    def warm_share(line: str) -> float:
        messages = (Message("task", "Hello. Who are you?"), Message("simulator", line))
        asked = [View("patient", "task", "", messages, seed) for seed in range(400)]
        return sum("!" in reply for reply in ScriptedSpeaker().reply(asked)) / 400

    assert warm_share("Everything is perfect, you cured me!") > 0.55  # .6 + .4 x .25 = .70 expected
    assert warm_share("I go by Mei.") < 0.35  # .85 x .25 = .21 expected


def test_the_task_agent_comes_back_most_to_what_was_volunteered() -> None:
    messages = (
        Message("task", "Who are you?"),
        Message("simulator", "I go by Mei, and about four hours."),
        Message("task", "How do you feel today?"),
        Message("simulator", "Pretty numb."),
    )
    asked = [View("patient", "task", "", messages, seed) for seed in range(600)]
    found = Counter(a.key for reply in ScriptedSpeaker().reply(asked) if (a := read_asked(reply)))
    assert found["sleep"] > 1.7 * found["problem"]  # .35 x 3/5 + .65 / 7 = .30 against .09 expected
    assert "mood" not in found


def test_the_simulator_stands_by_what_it_made_up() -> None:
    view = View(
        "patient",
        "simulator",
        "You are Mei.",
        (
            Message("task", "How is your sleep?"),
            Message("simulator", "About four hours."),
            Message("task", "So you sleep nine hours a night, right?"),
        ),
        0,
    )
    for seed in range(30):
        again = View(view.role, view.side, view.system, view.messages, seed)
        line = ScriptedSpeaker().reply([again])[0]
        assert read_line(line, "patient").values("sleep") == {"four"}


def test_the_simulator_answers_what_it_does_not_understand_with_a_fact_of_its_own() -> None:
    view = View("patient", "simulator", "You are Mei.", (Message("task", "Lovely weather."),), 3)
    assert read_line(ScriptedSpeaker().reply([view])[0], "patient").facts[0] == ("name", "Mei")


def test_a_simulator_without_a_persona_of_this_world_declines() -> None:
    view = View("patient", "simulator", "A sailor.", (), 3)
    assert read_line(ScriptedSpeaker().reply([view])[0], "patient").hedges


def test_a_role_of_another_world_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected a role of the embedded world"):
        ScriptedSpeaker().reply([View("dentist", "task", "", (), 0)])
