import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_env.models.chat import ChatReply, ChatRequest
from persona_env.models.completion import read_completion, read_reply
from persona_env.models.faults import BadReply
from tests.models.behaviours import completion


def read(value: object) -> ChatReply:
    return read_reply(read_completion(json.dumps(value).encode()), b"x" * 40)


def test_a_completion_is_read():
    assert read(completion("Hello")) == ChatReply("Hello", "stop", 100, 10)


def test_a_server_that_counts_no_tokens_is_counted_by_its_bytes():
    assert read(completion("twelve bytes", usage=None)) == ChatReply("twelve bytes", "stop", 10, 3)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=5) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
PLACES = [
    ("choices",),
    ("usage",),
    ("error",),
    ("choices", 0),
    ("choices", 0, "message"),
    ("choices", 0, "index"),
    ("choices", 0, "finish_reason"),
    ("choices", 0, "message", "content"),
    ("choices", 0, "message", "role"),
    ("choices", 0, "message", "tool_calls"),
    ("usage", "prompt_tokens"),
]


@given(value=JSON, place=st.sampled_from(PLACES))
def test_whatever_stands_at_a_place_is_read_or_refused_with_a_type(value: object, place: tuple[str | int, ...]):
    made: object = completion("A")
    inside: object = made
    for step in place[:-1]:
        inside = inside[step]  # type: ignore[index]
    inside[place[-1]] = value  # type: ignore[index]
    try:
        reply = read(made)
    except BadReply:
        return
    assert reply.text.strip()
    assert reply.finish_reason in ("stop", "length")
    assert reply.prompt_tokens >= 0 <= reply.completion_tokens


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_with_a_type(body: bytes):
    with pytest.raises(BadReply):
        read_reply(read_completion(body), b"")


def test_a_request_says_what_is_asked():
    request = ChatRequest((("system", "S"), ("user", "caf\u00e9")), 7, 0.5, 3, {"type": "object"})
    sent = json.loads(request.body("m"))
    assert sent["messages"] == [{"role": "system", "content": "S"}, {"role": "user", "content": "caf\u00e9"}]
    assert (sent["model"], sent["max_tokens"], sent["temperature"], sent["seed"]) == ("m", 7, 0.5, 3)
    assert sent["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert "seed" not in json.loads(ChatRequest((("user", "x"),), 1).body("m"))


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": ()},
        {"messages": (("tool", "x"),)},
        {"max_tokens": 0},
        {"temperature": float("nan")},
        {"temperature": -1.0},
        {"seed": -1},
    ],
)
def test_a_request_that_cannot_be_asked_is_refused(fields: dict[str, object]):
    with pytest.raises(ValueError, match="Expected"):
        ChatRequest(**{"messages": (("user", "x"),), "max_tokens": 1, **fields})  # type: ignore[arg-type]


def test_half_of_a_surrogate_pair_is_not_sent():
    with pytest.raises(ValueError, match="surrogate"):
        ChatRequest((("user", "\ud800"),), 1).body("m")
