from dataclasses import replace

import pytest

from persona_env.judges import AnswerVsGold, LineVsHistory, LineVsPersona, LineVsPrevious
from persona_env.judges.content_filter import MASTER_KEYS, rejection_reason
from persona_env.persona import Persona
from persona_env.testing.samples import sample_conversations
from persona_env.world import personas
from persona_env.world.scripted import ScriptedSpeaker

ANN = Persona("a", "patient", "Ann", "You are Ann. You sleep four hours a night. Your cat is ill.", scene="It is late.")


def everywhere(line):
    return (
        LineVsPersona(ANN, line, "How do you sleep?"),
        LineVsHistory("patient", line, ("I sleep badly.",)),
        AnswerVsGold("patient", "How do you sleep?", "badly", line),
        LineVsPrevious(ANN, "How do you sleep?", line),
    )


@pytest.mark.parametrize(
    "line", ["", " ", "...", ":", "?!", "😀", "\u200b\u2060", "_", "* * *", "\u3164", "\x00", "()"]
)
def test_a_line_without_a_word_is_below(line):
    assert [rejection_reason(question) for question in everywhere(line)] == ["says nothing"] * 4


@pytest.mark.parametrize("key", MASTER_KEYS)
@pytest.mark.parametrize(
    "form", ["{}", "{}:", " {}...", "**{}**", "{}: {}:", "\u200b{}\u2060:", "THOUGHT PROCESS: {}."]
)
def test_an_opener_without_content_is_below(key, form):
    line = form.format(key, key)
    assert [rejection_reason(question) for question in everywhere(line)] == ["is an opener without content"] * 4


@pytest.mark.parametrize("line", [
    "No.", "Four.", "4", "The answer is four.", "I have a solution.", "睡不好。", "A", "Ja.",
    "Let me think. Four hours.",
])  # fmt: skip
def test_a_line_with_content_is_asked_about(line):
    assert [rejection_reason(question) for question in everywhere(line)] == [""] * 4


@pytest.mark.parametrize("line", ["How do you sleep?", "how do you sleep", "Hello there, Ann. How do you sleep?"])
def test_a_copied_question_is_below(line):
    heard = "Hello there, Ann. How do you sleep?"
    assert rejection_reason(LineVsPersona(ANN, line, heard))
    assert rejection_reason(LineVsPrevious(ANN, heard, line))
    assert rejection_reason(AnswerVsGold("patient", heard, "badly", line))


@pytest.mark.parametrize(("heard", "line", "is_copied"), [
    ("Good morning.", "Good morning.", False),  # a greeting is returned
    ("Nice to meet you.", "Nice to meet you.", False),
    ("That must be very hard for you.", "That must be very hard for you.", True),
    ("Do you sleep?", "I sleep.", False),
    ("So you sleep four hours, right?", "Four hours, right.", False),
    ("", "Hello.", False),
])  # fmt: skip
def test_only_what_is_no_answer_counts_as_copied(heard, line, is_copied):
    assert bool(rejection_reason(LineVsPrevious(ANN, heard, line))) == is_copied


@pytest.mark.parametrize(("line", "is_recited"), [
    (ANN.description, True), (ANN.prompt, True), ("You sleep four hours a night.", True), ("Your cat is ill.", True),
    ("It is late.", False), ("I sleep four hours a night.", False), ("You sleep well.", False),
])  # fmt: skip
def test_the_persona_text_word_for_word_is_below(line, is_recited):
    assert bool(rejection_reason(LineVsPersona(ANN, line))) == is_recited


def test_a_persona_in_the_first_person_may_say_what_it_is():
    likes = replace(ANN, description="I like tea. I have two dogs.", scene="")
    assert rejection_reason(LineVsPersona(likes, "I like tea.", "What do you like?")) == ""


def test_no_line_of_a_speaker_without_drift_is_below():
    speaker = ScriptedSpeaker()
    for role in ("patient", "student", "chat_partner"):
        for persona in personas(role, "dev")[:20]:
            talk = sample_conversations(role, 1)[0]
            talk = replace(talk, persona=persona, messages=())
            for seed in range(4):
                talk = talk.with_reply(speaker.reply([talk.view("task", seed)])[0])
                talk = talk.with_line(speaker.reply([talk.view("simulator", seed)])[0])
                heard = talk.heard_before(len(talk.lines) - 1)
                assert rejection_reason(LineVsPersona(persona, talk.lines[-1], heard)) == ""
                assert rejection_reason(LineVsPrevious(persona, heard, talk.lines[-1])) == ""
