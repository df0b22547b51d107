"""What a side says is its own line: its name goes, and what it says for the other side is cut off and noted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_env.conversation import Message, View
from persona_env.roles import Role, register_role
from persona_env.speakers.own_line import own_line

PATIENT = View("patient", "simulator", "You are Ann Lee. You sleep badly.", (Message("task", "I'm Dr. Smith."),), 0)
THERAPIST = View("patient", "task", "You are a therapist.", (Message("simulator", "Hello, I'm Ann."),), 0)
PARTNER = View("chat_partner", "simulator", "i like dogs.", (), 0)


@pytest.mark.parametrize("between", ["\n", "\n\n", " ", "\r\n", "\n- ", "\n> "])
@pytest.mark.parametrize("other", [
    "Therapist: Since when?", "**Therapist:** Since when?", "**Therapist**: Since when?", "THERAPIST: Since when?",
    "User: Since when?", "Human: Since when?", "Assistant: I am sorry.", "Dr. Smith: Since when?",
    "[Therapist]: Since?", "Therapist (softly): Since when?",
    "Therapist:", "Speaker 2: Since when?", "AI: Since when?", "Therapist:\nSince?",
])  # fmt: skip
def test_a_line_is_cut_where_the_other_side_begins(between: str, other: str) -> None:
    line = own_line(f"I slept badly.{between}{other}\nPatient: Since May.", PATIENT)
    assert (str(line), line.note) == ("I slept badly.", "cut")


@pytest.mark.parametrize("label", [
    "Patient: ", "**Patient:** ", "patient: ", "Ann: ", "Ann Lee: ", "**Ann**: ", "Patient: Ann: ", "Assistant: ",
    "Patient:\n",
])  # fmt: skip
def test_its_own_name_goes_without_a_note(label: str) -> None:
    line = own_line(f"{label}I slept badly.", PATIENT)
    assert (str(line), line.note) == ("I slept badly.", "")


@pytest.mark.parametrize("text", [
    "My therapist: a nice man.", "I told my therapist: leave me alone.", "At 10:30 I slept.", "Ann", "No: never.",
    "I need two things: sleep and rest.", "I asked my user: why?", "He is my therapist. I like him.", "Therapist",
    "I slept.\nThen: nothing.", "She said, \"Therapist: be calm.\"", "I wake. therapist: that is what I need.",
    "Dr. Smith is kind.", "Monday: work\nTuesday: rest", "user:password is what I typed", "", "I am an assistant.",
    "I work at the zoo. [END]", "2 < 3", "a </b> c", "The users: many.",
])  # fmt: skip
def test_a_line_that_merely_speaks_of_the_other_stays(text: str) -> None:
    line = own_line(text, PATIENT)
    assert (str(line), line.note) == (text, "")


@pytest.mark.parametrize(("view", "text", "said"), [
    (THERAPIST, "Since when?\nAnn: Since May.", "Since when?"),
    (THERAPIST, "Since when?\nPatient: Since May.\nTherapist: I see.", "Since when?"),
    (THERAPIST, "Since when?\nUser: Since May.", "Since when?"),
    (PARTNER, "I like dogs.\nChat partner: Me too.", "I like dogs."),
    (PARTNER, "Chat partner: I like dogs.\nChat partner: Me too.", "I like dogs."),
    (PARTNER, "Person 1: I like dogs.\nPerson 2: Me too.", "I like dogs."),
    (THERAPIST, "Ann: Since May.", "I see. Please go on."),
    (PATIENT, "Therapist: How are you?\nPatient: Fine.", ""),
    (PATIENT, "User: How are you?", ""),
    (PATIENT, "I slept.<|im_end|>\n<|im_start|>user\nSince when?", "I slept."),
    (PATIENT, "I slept.</s><|user|>Since when?", "I slept."),
    (PATIENT, "<|user|>How are you?", ""),
    (PATIENT, "I slept badly.\u3002Therapist\uff1aSince when?", "I slept badly.\u3002"),
])  # fmt: skip
def test_either_side_of_any_role_is_cut(view: View, text: str, said: str) -> None:
    line = own_line(text, view)
    assert (str(line), line.note) == (said, "cut")


@pytest.mark.parametrize(
    "text", ["I slept.<|im_end|>", "<|im_start|>assistant\nI slept.<|im_end|>\n", "<s>I slept.</s>"]
)
def test_control_tokens_around_a_line_go_without_a_note(text: str) -> None:
    line = own_line(text, PATIENT)
    assert (str(line), line.note) == ("I slept.", "")


def test_the_nouns_of_a_users_role_count_and_a_role_that_is_not_known_has_none() -> None:
    register_role(Role("own_line_caller", "caller", "assistant", "You take calls."))
    view = replace(PATIENT, role="own_line_caller", messages=())
    assert own_line("Caller: Hello.\nAssistant: Hello, caller.", view) == "Hello."
    assert own_line("Assistant: Hello, caller.", view).note == "cut", "here it is a noun of the other side"
    assert own_line("Clerk: Hello.", replace(view, role="own_line_nobody")) == "Clerk: Hello."


@pytest.mark.parametrize("piece", ["-", "*", "- ", "(", "\n", "\n-", ". ", "\n(", "a ", "**a", "\nUser (", "<|end|>x"])
def test_a_flood_of_marks_is_read_at_once(piece: str) -> None:
    text = f"I slept.\n{piece * 4000}a"
    assert len(own_line(text, PATIENT)) <= len(text)


@given(st.text(st.characters(blacklist_characters=":\uff1a<[", blacklist_categories=["Cs"]), max_size=60))
def test_a_line_without_a_colon_is_only_stripped(text: str) -> None:
    assert own_line(text, PATIENT) == text.strip()


@given(
    st.text(max_size=40),
    st.sampled_from(["\nTherapist: ", "\nUser: ", " **Therapist:** ", "\nPatient: "]),
    st.text(max_size=40),
)
def test_a_line_that_was_cut_is_not_cut_again(before: str, label: str, after: str) -> None:
    line = own_line(f"{before}.{label}{after}", PATIENT)
    assert own_line(line, PATIENT) == line
