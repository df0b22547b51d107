"""No thought is ever part of what is said, in whatever form it was published."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_env.models.thoughts import without_thought
from tests.models.thoughts import FORMS, SAID, THOUGHT, whole

# Where nothing but the thought's end tells that there was one, its beginning looks like any line.
_KNOWN_FROM_THE_START = [form for form, text in FORMS.items() if not text.startswith("{t}")]
_PIECES = (
    *("<think>", "</think>", "[THINK]", "[/THINK]", "<answer>", "</answer>", "<thi", "nk>", "\n", "a "),
    *("<|channel|>", "<|message|>", "<|start|>", "<|end|>", "final", "analysis", "<reflection>", "</reflection>"),
)
_WORDS = st.text(st.characters(blacklist_characters="<>[]&|\u25c1\u25b7\uff5c", max_codepoint=0x2FF), max_size=40)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("said", [SAID, "", "I think so, too.\nYes.", '{"id": "k3", "answer": "A"}'])
@pytest.mark.parametrize("thought", [THOUGHT, "", "One.\n\nTwo, I <b>think</b>."])
def test_only_what_is_said_is_left(form: str, said: str, thought: str) -> None:
    if form == "gpt-oss without control tokens" and not thought:
        thought = "None."
    assert without_thought(whole(form, said, thought)) == said


@pytest.mark.parametrize("form", _KNOWN_FROM_THE_START)
def test_a_thought_cut_off_anywhere_is_no_line(form: str) -> None:
    reply = whole(form)
    start = reply.index(THOUGHT)
    for end in range(start + 5, start + len(THOUGHT) + 1):
        assert without_thought(reply[:end]) is None, reply[:end]
    for end in range(len(reply)):
        assert THOUGHT[:9] not in (without_thought(reply[:end]) or ""), reply[:end]


@pytest.mark.parametrize(
    "cut", ["<th", "<think", "[THIN", "<|chan", "<|channel|>", "<|channel|>ana", "so </thin", "\u25c1"]
)
def test_a_tag_that_is_cut_off_is_no_line(cut: str) -> None:
    assert without_thought(cut) is None


@pytest.mark.parametrize(("reply", "said"), [
    ("<think>a</think>Yes.<think>b</think> No.", "Yes. No."),
    ("Yes. <think>a</think>", "Yes."),
    ("a</think>b</think>Yes.", "Yes."),
    ("<thi<think>x</think>nk>a</think>Yes.", "Yes."),
    ("Yes. <think>a", None),
    ("<think/>Yes.", "Yes."),
    ("finalYes.", "Yes."),
    ("thought\nShe asks me", None),
    ("<|start|>assistant<|message|>Yes.<|end|>", "Yes."),
    ("<|channel|>final<|message|>Yes.<|end|><|start|>user<|message|>No.", "Yes."),
])  # fmt: skip
def test_several_thoughts_none_and_odd_ones(reply: str, said: str | None) -> None:
    assert without_thought(reply) == said


@pytest.mark.parametrize("line", [
    "I think I sleep badly.", "I think: no.", "[thinking] I do not know.", "*thinks* Maybe.", "<sigh> I am tired.",
    "I <3 my dog.", "Two < three > one.", "Analysis is my favourite subject.", "analysis is hard", "Final answer: 4.",
    "My final answer is 4.", "Here's my thought process: I add three and four.", "Here is my response: no.", "finally",
    "thought so", "Thinking of it, yes.", "I wrote <output> in my page.", "a [1] b [T", "", "[END]", "x <t",
    "The thought police </3", "<b>bold</b>", "my reasoning: 3 > 2", "I am an assistant. Final offer.",
])  # fmt: skip
def test_a_person_who_merely_speaks_of_thinking_is_untouched(line: str) -> None:
    assert without_thought(line) == line


@given(_WORDS, _WORDS, st.sampled_from(["qwen3", "magistral", "thinking", "seed-oss", "kimi-vl", "command a"]))
def test_whatever_is_thought_what_is_said_stays(thought: str, said: str, form: str) -> None:
    assert without_thought(whole(form, said, thought)) == without_thought(said)


@given(st.lists(st.sampled_from(_PIECES), max_size=8).map("".join))
def test_what_is_left_holds_no_tag(reply: str) -> None:
    said = without_thought(reply)
    assert said is None or without_thought(said) == said
    assert not any(tag in (said or "") for tag in ("think>", "THINK]", "<|"))


@pytest.mark.parametrize(
    "piece", ["<think>", "</think>", "<a.", "a.", "[", "<|start|>", "<|channel|>final<|message|>", "<"]
)
def test_a_flood_of_tags_is_read_at_once(piece: str) -> None:
    reply = piece * 20_000 + "a"
    said = without_thought(reply)
    assert said in (None, "a") or (said == reply and "think" not in reply)
