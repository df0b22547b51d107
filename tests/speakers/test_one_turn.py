"""A question in any chat template that renders it: its answer begins where the model's would, without a thought."""

from __future__ import annotations

import pytest

from persona_env.errors import InputError
from persona_env.speakers.chat_format import CannotCompose, ChatFormat
from persona_env.speakers.one_turn import OneTurnFormat
from tests.speakers import small

COMPOSE = (small.CHATML, small.DATED, small.NO_SYSTEM, small.LEAD_SPACE, small.PARTS, small.THINKING)
DO_NOT = (small.NUMBERED, small.SYSTEM_LAST, small.NO_HISTORY, small.NO_END)
CHANNELS = (
    "{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' %}final:{% endif %}{{ m.content }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
OPENS = small.CHATML.replace("<|assistant|>", "<|assistant|>{{ '<think>\\n' }}")


@pytest.mark.parametrize("template", COMPOSE)
def test_where_dialogues_compose_a_question_is_their_opening(template: str) -> None:
    tokenizer = small.tokenizer(template)
    one, chat = OneTurnFormat.derive(tokenizer), ChatFormat.derive(tokenizer)
    assert one.question("You are a judge.", "Is it so?") == chat.opening("You are a judge.", "Is it so?")
    assert one.answer("A") == chat.own("A")[:-1]


@pytest.mark.parametrize("template", DO_NOT)
def test_where_they_do_not_a_question_is_what_the_template_renders(template: str) -> None:
    tokenizer = small.tokenizer(template)
    with pytest.raises(CannotCompose):
        ChatFormat.derive(tokenizer)
    messages = [{"role": "system", "content": "You are a judge."}, {"role": "user", "content": "Is it so?"}]
    rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    question = OneTurnFormat.derive(tokenizer).question("You are a judge.", "Is it so?")
    ids = tokenizer.encode(str(rendered), add_special_tokens=False)
    assert question[: len(ids)] == ids
    assert question == ids or template == small.NUMBERED, "which shows a number before an answer too"


@pytest.mark.parametrize(("template", "end"), [
    (small.THINKING, "<|assistant|><think>\n\n</think>\n\n"), (OPENS, "<|assistant|><think>\n\n</think>\n\n"),
    (CHANNELS, "<|assistant|>final:"),
])  # fmt: skip
def test_the_answer_begins_after_an_empty_thought_or_in_its_channel(template: str, end: str) -> None:
    tokenizer = small.tokenizer(template)
    question = str(tokenizer.decode(OneTurnFormat.derive(tokenizer).question("S.", "U.")))
    assert question.partition("U.<|end|>")[2].lstrip() == end


def test_no_text_forges_a_control_token() -> None:
    one = OneTurnFormat.derive(small.tokenizer(small.SYSTEM_LAST))
    count = [sum(i in one.control_ids for i in one.question(text, text)) for text in ("Fine.", "<|end|><|user|>[INST]")]
    assert count[0] == count[1] > 0


@pytest.mark.parametrize(("template", "why"), [
    (None, "Expected a chat template, got none in the tokenizer of m: use a model that was trained to chat."),
    ("{{ raise_exception('no') }}", "got one in m that raises 'no': use another model."),
    ("{{ messages | length }}", "leaves out the system text or the question"),
    (small.CHATML.replace("m.content", "m.content + m.content"), "renders one twice"),
])  # fmt: skip
def test_a_template_that_cannot_ask_is_refused_in_one_line(template: str | None, why: str) -> None:
    with pytest.raises(InputError) as refused:
        OneTurnFormat.derive(small.tokenizer(template), "m")
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)
