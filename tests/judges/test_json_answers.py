import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_env.judges.backend import JudgePrompt
from persona_env.judges.json_answers import MAX_REPLY, answer_id, answer_schema, answers_another, read_answer

LABEL = JudgePrompt("positive", "", "")
LIST = JudgePrompt("negative", "", "", items=3)

UNREADABLE = [
    "", " ", "A", "YES", "null", "[]", "{}", '"A"', "{'answer': 'A'}", '{"answer": "a"}', '{"answer": "C"}',
    '{"answer": "AB"}', '{"answer": "A "}', '{"answer": ["A"]}', '{"answer": null}', '{"answer": true}',
    '{"answer": 1}', '{"Answer": "A"}', '{"answer": "A", "reason": "x"}', '{"answer": "A", "answer": "B"}',
    '{"answer": "A", "answer": "A"}', '{"answer": "A"}{"answer": "A"}',
    'Sure! {"answer": "A"}', '{"answer": "A"} Done.', '```json\n{"answer": "A"}\n```', '{"answer": "A"',
    '\ufeff{"answer": "A"}', '{"answer": {"answer": "A"}}', '[{"answer": "A"}]', '{"answer": "\uff21"}',
    '{"answer": "\u0410"}', '{"answer": A}', '{"answer": "A",}', "{" * 4000 + "}", '{"answer":' + "[" * 8000,
    '{"conflicts": [1]}', '{"verdict": "consistent"}', '{"answer": "A"}' + " " * MAX_REPLY, '{"answer": NaN}',
]  # fmt: skip
LISTS = [
    '{"conflicts": [4]}', '{"conflicts": [0]}', '{"conflicts": [-1]}', '{"conflicts": [1, 1]}',
    '{"conflicts": [1.0]}', '{"conflicts": [true]}', '{"conflicts": ["1"]}', '{"conflicts": [[1]]}',
    '{"conflicts": 1}', '{"conflicts": null}', '{"conflicts": {}}', '{"compatible": [1]}', '{"conflicts": [1e0]}',
    '{"conflicts": [1e999]}', '{"conflicts": [NaN]}', '{"conflicts": [' + "9" * 5000 + "]}", '{"answer": "A"}',
    '{"conflicts": []} []', '{"conflicts": [], "conflicts": [1]}', '{"conflicts": [1], "compatible": [2, 3]}',
]  # fmt: skip


@pytest.mark.parametrize(("prompt", "reply"), [*((LABEL, r) for r in UNREADABLE), *((LIST, r) for r in LISTS)])
def test_a_reply_that_is_not_the_one_object_has_a_problem(prompt, reply):
    answer = read_answer(reply, prompt)
    assert answer.problem
    assert (answer.label, answer.numbers) == ("", None)


@pytest.mark.parametrize("label", ["A", "B"])
def test_what_was_asked_for_is_read(label):
    reply = f'\n{{ "answer" : "{label}" }}\n'
    assert read_answer(reply, LABEL).label == label
    assert read_answer(reply).label == label


@pytest.mark.parametrize(("reply", "numbers"), [("[]", set()), ("[2]", {2}), ("[3, 1, 2]", {1, 2, 3})])
def test_numbers_are_read(reply, numbers):
    assert read_answer(f'{{"conflicts": {reply}}}', LIST).numbers == numbers


@given(st.text(max_size=200))
@settings(deadline=None)
def test_no_text_raises_or_is_read_by_accident(text):
    for prompt in (LABEL, LIST):
        assert read_answer(text, prompt).problem


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                        st.sampled_from(["answer", "conflicts", "x"]), inner, max_size=3)))  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_of_any_json_only_the_closed_forms_are_read(value):
    answer = read_answer(json.dumps(value), LABEL)
    assert (not answer.problem) == (value in ({"answer": "A"}, {"answer": "B"}))
    listed = value.get("conflicts") if isinstance(value, dict) and len(value) == 1 else None
    good = isinstance(listed, list) and all(type(n) is int and 1 <= n <= 3 for n in listed)
    assert (not read_answer(json.dumps(value), LIST).problem) == (good and len(set(listed or [])) == len(listed or []))


def test_the_schema_is_closed():
    assert answer_schema(LABEL)["additionalProperties"] is False
    longer = JudgePrompt("negative", "", "another", items=30)
    assert answer_schema(LIST) == answer_schema(longer), "servers may compile each new one"


def test_an_answer_repeats_the_id_of_what_it_answers():
    id, other = answer_id(LABEL), answer_id(JudgePrompt("positive", "", "another"))
    assert (id, len(id)) == (answer_id(JudgePrompt("negative", "", "")), 8)
    reply = f'{{ "id" : "{id}" , "answer": "A"}}'
    assert read_answer(reply, LABEL, id).label == "A"
    for wrong in (reply.replace(id, other), reply.replace(id, ""), reply.replace(id, f"{id}x"), '{"answer": "A"}'):
        assert read_answer(wrong, LABEL, id).problem
    assert answers_another(reply, other)
    made_up = reply.replace(id, "zzzzzzzz")
    assert not any(answers_another(text, id) for text in (reply, made_up, '{"answer": "A"}', "{" * MAX_REPLY))
    assert read_answer(reply, LABEL).problem == "has an id"
