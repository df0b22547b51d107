"""One action is one line."""

import pytest
from gymnasium.error import ResetNeeded
from hypothesis import given
from hypothesis import strategies as st

from persona_env.conversation import Message
from persona_env.envs import DialogueEnv
from tests.envs.parts import LINES, PERSONAS, TOKENS, SleepProbe, make, settings


def test_the_simulator_reads_its_persona_and_the_dialogue():
    env = make(LINES, render_mode="ansi")
    observation, info = env.reset(seed=0, options={"persona": "p1"})
    assert info == {"persona": PERSONAS[1]}
    heard = observation["dialogue"]
    assert observation["prompt"] == "You are Bob and sleep six hours."
    assert heard.startswith("therapist: And your ")
    observation, *_ = env.step("Badly.")
    assert observation["dialogue"].splitlines()[:2] == [heard, "you: Badly."]
    assert env.render() == observation["dialogue"]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60).filter(lambda text: "[END]" not in text))
def test_any_unicode_line_is_said_as_it_is_but_for_the_space_around_it(text):
    env = DialogueEnv(**settings(LINES))
    env.reset(seed=0)
    observation, *_, info = env.step(text)
    assert info["line"] == text.strip()
    assert env.step("a" * 1000)[4]["line"] == "a" * 384, "16 characters for each of 24 tokens"
    assert env.observation_space.contains(observation)
    assert len(observation["dialogue"].split("\n")) == 3


WRONG = {LINES: (3, None, ["a"], b"a", "\ud800"), TOKENS: ("a", 3.0, -1, 10**6, None, [3])}


@pytest.mark.parametrize(("form", "action"), [(form, action) for form, found in WRONG.items() for action in found])
def test_an_action_that_is_no_text_or_token_id_is_refused_and_changes_nothing(form, action):
    env = make(form).unwrapped
    env.reset(seed=0)
    before = env.snapshot()
    with pytest.raises(ValueError, match=r"^Expected .*, got .*: " if form == LINES else r"^Expected 1 token ids in"):
        env.step(action)
    assert env.snapshot() == before


def test_nothing_is_said_before_and_after_a_dialogue():
    env = make(LINES, max_lines=1).unwrapped
    with pytest.raises(ResetNeeded, match="Expected a dialogue that goes on"):
        env.step("Hello.")
    env.reset(seed=0)
    assert env.step("Hello.")[2]
    with pytest.raises(ResetNeeded, match="Expected a dialogue that goes on"):
        env.step("Hello again.")


def test_probe_functions_ask_until_a_reset_names_others():
    env = make(LINES)
    for options, asked in (({"probe_fns": (SleepProbe(1),)}, True), (None, True), ({"probe_fns": ()}, False)):
        env.reset(seed=0, options=options)
        env.step("Badly.")
        assert env.unwrapped.probing == asked


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"max_lines": 0}, "Expected max_lines >= 1, got 0"),
        ({"max_lines": 2.5}, "Expected max_lines >= 1, got 2.5"),
        ({"max_tokens": 0}, "Expected max_tokens >= 1, got 0"),
        ({"task_agent": "nobody"}, "Expected a speaker"),
        ({"role": "pilot"}, "Expected role to be one of"),
        ({"split": "test"}, "Expected a split"),
        ({"personas": []}, "Expected at least one persona"),
    ],
)
def test_what_cannot_work_is_refused_by_the_constructor_in_one_line(kwargs, message):
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        make(LINES, **kwargs)
    assert "\n" not in str(caught.value)


def test_the_view_is_what_a_speaker_needs_to_play_the_simulator():
    env = make(LINES).unwrapped
    env.reset(seed=0, options={"persona": "p0", "probe_fns": (SleepProbe(1),)})
    env.step("Badly.")
    view = env.view(seed=7)
    assert (view.system, view.side, view.seed) == (PERSONAS[0].prompt, "simulator", 7)
    assert view.messages[1:] == (Message("simulator", "Badly."), Message("task", "How long do you sleep?"))
