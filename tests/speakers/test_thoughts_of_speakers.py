"""No thought and no word of the other side reaches a line: local models and servers, through their real paths."""

from __future__ import annotations

import pytest

from persona_env.conversation import Conversation, Line
from persona_env.persona import Persona
from persona_env.speakers import load_speaker
from persona_env.speakers.chat_format import ChatFormat
from persona_env.speakers.local import LanguageModel
from tests.models.fault_server import FaultServer
from tests.models.thoughts import FORMS, SAID, THOUGHT, whole
from tests.speakers import small

TALK = Conversation(Persona("p", "patient", "Ann", "You are Ann.")).with_reply("How do you feel?")
VIEW = TALK.view("simulator", seed=0)
NEXT = "Since when?"
BOTH = "I slept badly.\nTherapist: Since when?\nPatient: Since May."
LOCAL = (
    *("qwen3", "opened by the template", "magistral", "thinking", "seed-oss", "kimi-vl", "gemma 4", "hunyuan", "plamo"),
    *("granite 3.2", "command a", "two openings", "gpt-oss without control tokens"),
)
"""Forms none of whose tags is a control token of the tests' tokenizer; those a local model never samples."""


def saying(text: str, template: str = small.CHATML, max_tokens: int = 0) -> LanguageModel:
    """A local model that says this after `VIEW`, written as it is: none of its tags are control tokens."""
    tokenizer = small.tokenizer(template)
    chat = ChatFormat.derive(tokenizer)
    start = len(chat.context(VIEW))
    ids = [*tokenizer.encode(text, add_special_tokens=False), chat.end_id]
    bound = max_tokens or len(ids)
    made = small.saying(ids, start, length=start + len(ids) + 1)
    return LanguageModel(made, tokenizer, max_tokens=bound, temperature=0)


def said_by(lm: LanguageModel) -> Line:
    [line] = lm.reply([VIEW])
    assert isinstance(line, Line)
    return line


@pytest.mark.parametrize(("form", "template"), [*((form, small.CHATML) for form in LOCAL), ("qwen3", small.THINKING)])
def test_a_local_model_that_thinks_aloud_says_only_its_line(form: str, template: str) -> None:
    lm = saying(whole(form), template)
    assert said_by(lm) == SAID
    later = TALK.with_line(SAID).with_reply(NEXT).view("simulator")
    assert lm._context(later) == lm.chat.context(later), "what it thought is in no later context"


def test_a_thought_that_is_cut_off_is_a_withheld_line() -> None:
    for bound in (12, 24):
        line = said_by(saying(whole("qwen3"), max_tokens=bound))
        assert (str(line), line.note) == ("", "filtered")


def test_a_line_without_a_thought_stays_in_the_context_as_it_was_sampled() -> None:
    lm = saying("  I sleep  four hours. ")
    assert said_by(lm) == "I sleep  four hours."
    later = TALK.with_line("I sleep  four hours.").with_reply(NEXT).view("simulator")
    context, spelled = lm._context(later), lm.tokenizer.encode("  I sleep  four hours. ", add_special_tokens=False)
    assert any(context[i : i + len(spelled)] == spelled for i in range(len(context)))


def test_a_local_model_that_speaks_for_both_sides_is_cut() -> None:
    lm = saying(BOTH)
    line = said_by(lm)
    assert (str(line), line.note) == ("I slept badly.", "cut")
    later = TALK.with_line(line).with_reply(NEXT).view("simulator")
    assert lm._context(later) == lm.chat.context(later), "the other side's words are in no later context"


@pytest.mark.parametrize("form", FORMS)
def test_a_server_whose_model_thinks_aloud_gives_only_its_line(form: str) -> None:
    with FaultServer(answer=lambda prompt: whole(form, BOTH)) as server:
        [line] = load_speaker(f"openai:{server.spec}").reply([VIEW])
    assert isinstance(line, Line)
    assert (str(line), line.note) == ("I slept badly.", "cut")
    assert THOUGHT not in line
