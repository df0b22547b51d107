import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_env.models.chat import ChatReply, ChatRequest, read_reply
from persona_env.models.dialect import encoded
from persona_env.models.endpoint import Endpoint
from persona_env.models.faults import BadReply
from persona_env.models.request_options import api_key
from tests.models.behaviours import completion


def read(value: object) -> ChatReply:
    return read_reply(json.dumps(value).encode(), b"x" * 40)


def test_a_completion_is_read_and_its_bytes_counted_where_the_server_counts_no_tokens():
    assert read(completion("Hello")) == ChatReply("Hello", "stop", 100, 10)
    assert read(completion("twelve bytes", usage=None)) == ChatReply("twelve bytes", "stop", 10, 3)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=5) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
CHOICE, MESSAGE = ("choices", 0), ("choices", 0, "message")
PLACES = [
    *[("choices",), ("usage",), ("error",), ("usage", "prompt_tokens"), CHOICE, MESSAGE, (*CHOICE, "index")],
    *[(*CHOICE, "finish_reason"), *((*MESSAGE, name) for name in ("content", "role", "tool_calls"))],
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
    assert reply.text.strip() or reply.text == ""
    assert reply.finish_reason in ("stop", "length", "content_filter")
    assert reply.prompt_tokens >= 0 <= reply.completion_tokens


def test_a_request_says_what_is_asked():
    request = ChatRequest((("system", "S"), ("user", "caf\u00e9")), 7, 0.5, 3, {"type": "object"})
    sent = json.loads(encoded(request.fields))
    assert sent["messages"] == [{"role": "system", "content": "S"}, {"role": "user", "content": "caf\u00e9"}]
    assert (sent["max_tokens"], sent["temperature"], sent["seed"]) == (7, 0.5, 3)
    assert sent["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert "seed" not in ChatRequest((("user", "x"),), 1).fields
    assert "temperature" not in ChatRequest((("user", "x"),), 1, None).fields


@pytest.mark.parametrize(
    "fields",
    [
        *[{"messages": ()}, {"messages": (("tool", "x"),)}, {"messages": (("user", "\ud800"),)}],
        *[{"max_tokens": 0}, {"temperature": float("nan")}, {"temperature": -1.0}, {"seed": -1}],
    ],
)
def test_a_request_that_cannot_be_asked_is_refused(fields: dict[str, object]):
    with pytest.raises(ValueError, match="Expected"):
        encoded(ChatRequest(**{"messages": (("user", "x"),), "max_tokens": 1, **fields}).fields)  # type: ignore[arg-type]


def test_a_model_may_hold_slashes_colons_and_at_signs():
    endpoint = Endpoint.parse("org/some-model:7b@v2@https://models.example:8443/api/v1/")
    assert endpoint == Endpoint("org/some-model:7b@v2", "https://models.example:8443/api/v1")


@pytest.mark.parametrize(
    ("rest", "why"),
    [
        *[("m@http://user:hunter2@host/v1", "user or password"), ("m@http://hunter2@host/v1", "user or password")],
        *[("m@http://host/v1?key=hunter2", "query"), ("m@http://host/v1#hunter2", "fragment")],
        *[("m@file:///hunter2", "another scheme"), ("m@http:///hunter2", "without a host")],
        *[("m@http://host:0/hunter2", "port 0"), ("m@http://host:99999/hunter2", "no URL")],
        *[("m@http://[hunter2/v1", "no URL"), ("m@http://host/hunter2\r\nx: y", "no URL holds")],
        *[("m@http://h\u00f6st/hunter2", "no URL holds"), ("m@host/hunter2", "no http")],
        *[("@http://host/hunter2", "no model"), ("m\n@http://host/hunter2", "no model")],
    ],
)
def test_what_is_no_endpoint_is_refused_and_not_repeated(rest: str, why: str):
    with pytest.raises(ValueError, match=why) as caught:
        Endpoint.parse(rest)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_blanks_around_a_key_do_not_count(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", " sk-1234\n")
    assert api_key() == "sk-1234"


@pytest.mark.parametrize("key", ["sk hunter2", "hunter2\r\nx: y", "hunter\u00e9", "hunter2\x7f"])
def test_a_key_that_cannot_stand_in_a_header_is_refused_and_not_repeated(key: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(ValueError, match="OPENAI_API_KEY") as caught:
        api_key()
    assert "hunter" not in str(caught.value)
