import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_env.judges.sanitize import as_json, fill, sanitized
from tests.judges.chat_families import FAMILIES, control_ids, tokenizer
from tests.judges.injections import CONTROL, DISGUISES, forgeries


def forged(name: str, line: str) -> int:
    """How many control tokens more a server reads than the template puts there."""
    made = tokenizer(name)

    def count(text: str) -> int:
        ids = made.apply_chat_template(
            [{"role": "user", "content": text}], tokenize=True, add_generation_prompt=True, return_dict=False
        )
        return sum(i in control_ids(name) for i in ids)

    return count(line) - count("I am a baker.")


@pytest.mark.parametrize("name", FAMILIES)
def test_json_alone_stops_no_forgery_but_sanitising_does(name):
    own = [token for token in CONTROL if token in FAMILIES[name].tokens]
    assert own
    assert all(forged(name, json.dumps(token, ensure_ascii=False)) > 0 for token in own)
    for line in forgeries()[::3]:
        assert forged(name, as_json(line)) == 0, line


@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_disguised_token_is_no_token_once_it_is_cleaned(disguise):
    for token in CONTROL:
        clean = sanitized(DISGUISES[disguise](token))
        assert token not in clean
        assert not any(character in clean for character in "\u200b\u00ad\ufe0f\x00\u202e\U000e0041")


@given(st.text(st.characters(codec=None), max_size=60), st.sampled_from(CONTROL))
@settings(max_examples=300, deadline=None)
def test_no_text_can_bring_a_control_token_through(text, token):
    for attack in (text + token, token[: len(token) // 2] + text + token[len(token) // 2 :]):
        clean = sanitized(attack)
        assert not any(control in clean for control in CONTROL)
        assert sanitized(clean) == clean
        assert json.loads(as_json(attack)) == clean
        assert not any(character < " " and character not in "\n\t" for character in clean)
        clean.encode("utf-8")


@pytest.mark.parametrize("text", ["Ça va 😀?", "睡不好。", "5 < 6", "I said \"no\" twice\n'ok'", "Ærlig talt, nei."])
def test_ordinary_text_stays_as_it_is(text):
    assert sanitized(text) == text


def test_a_placeholder_in_a_text_is_never_filled():
    filled = fill(
        "{persona}|{heard}|{line}", {"persona": '"{line}"', "heard": '"{persona}"', "line": '"{heard}{line}"'}
    )
    assert filled == '"{line}"|"{persona}"|"{heard}{line}"'


def test_half_of_a_surrogate_pair_is_replaced():
    assert sanitized("a\ud83d b") == "a\ufffd b"
