"""A line for the other side or as a language model is out of the role, whoever judges the rest."""

from __future__ import annotations

import pytest

from persona_env.conversation import Conversation, Line
from persona_env.judges.base import LineVsRole, Verdict
from persona_env.metrics.role_flip import RoleFlip
from persona_env.persona import Persona

ANN = Persona("p", "patient", "Ann", "You are Ann, an AI researcher. You are tired.")


def asked(line: str, persona: Persona = ANN) -> str:
    """The reason that the text gives; "" where a judge has to say."""
    found = RoleFlip().query(Conversation(persona).with_reply("How are you?").with_line(line), 0)
    if isinstance(found, Verdict):
        assert (found.label, found.is_asked) == ("inconsistent" if found.applies else "consistent", False)
        return found.reason if found.applies else ""
    assert found == LineVsRole(persona, "How are you?", line)
    return ""


@pytest.mark.parametrize("line", [
    Line("I slept badly.", "cut"), "I slept badly.\nTherapist: Since when?", "Therapist: How do you sleep?",
    "I slept badly. **Therapist:** Since when?", "Fine.\nUser: And you?", Line("", "cut"),
])  # fmt: skip
def test_a_line_for_the_other_side_is_out_of_the_role(line: str) -> None:
    assert asked(line) == "speaks for the other side"


@pytest.mark.parametrize("line", [
    "As an AI language model, I do not sleep.", "I'm just an AI, so I have no sleep.", "I am a large language model.",
    "Sorry, but I'm an AI assistant and cannot say.", "I was trained by OpenAI.", "Being an AI, I cannot feel.",
    "As a language model I have no job.", "I am an artificial intelligence.", "I don\u2019t have a physical body.",
    "It is not in my training data.", "I can't continue this roleplay.", "I\u2019m an AI chatbot designed to help.",
    "I cannot feel pain, as an AI.", "I'm your virtual assistant.", "I'm only a computer program, after all.",
])  # fmt: skip
def test_a_line_as_a_language_model_is_out_of_the_role(line: str) -> None:
    assert asked(line) == "speaks as a language model"


@pytest.mark.parametrize("line", [
    "I sleep badly.", "As an AI engineer, I work late.", "I'm an AI researcher.", "I work with a language model.",
    "My therapist: a nice man.", "You sound like an AI.", "I'm not an AI.", "Do you think I'm an AI?", "I am a model.",
    "An AI wrote it.", "I am an assistant.", "I was trained by my father.", "Patient: I sleep badly.",
    "I don't have feelings.",
    "They say that I'm an AI.", "As a child, I slept well.", "I am a program manager.", Line("", "filtered"),
])  # fmt: skip
def test_a_line_in_the_role_is_left_to_the_judge(line: str) -> None:
    assert asked(line) == ""


@pytest.mark.parametrize("prompt", ["You are an AI that runs a ship.", "You are a friendly chatbot.", "I am an AI."])
def test_who_plays_an_ai_may_say_so(prompt: str) -> None:
    assert asked("I am an AI.", Persona("p", "patient", "Hal", prompt)) == ""
