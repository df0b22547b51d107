import json
from typing import Any

import pytest

from persona_env.errors import InputError, shown_spec
from persona_env.judges import load_judge
from persona_env.models.chat import ChatRequest
from persona_env.models.chat_api import ChatClient
from persona_env.models.endpoint import Endpoint
from persona_env.models.faults import AccessDenied, Filtered, Refused
from persona_env.models.limits import ModelResources
from persona_env.models.reply_cache import ReplyCache
from persona_env.registry import Spec
from persona_env.speakers import load_speaker
from persona_env.speakers.remote import RemoteSpeaker
from tests.models.asked import client, outcomes, requests
from tests.models.behaviours import WITHHELD, Behaviour, Call, cut_off, raw, status, well
from tests.models.fault_server import FaultServer

SECRET = "gw-9f2c-hunter2-0123"
REQUEST = ChatRequest((("user", "Hi."),), 7, 0.5, 2**62)


def asked_by(options: str, server: FaultServer) -> ChatClient:
    """A client of a spec with options."""
    spec = Spec.parse(f"openai:{server.spec}?{options}")
    return ChatClient(Endpoint.parse(spec.rest, spec.options))


@pytest.mark.parametrize(
    ("options", "sent", "absent"),
    [
        ("limit=max_completion_tokens", {"max_completion_tokens": 7}, {"max_tokens"}),
        ("seed=none", {"temperature": 0.5}, {"seed"}),
        ("seed=32", {"seed": 2**62 % (2**31 - 1)}, set()),
        ("thinking=true", {"chat_template_kwargs": {"enable_thinking": True, "thinking": True}}, {"reasoning_effort"}),
        (
            "thinking=false",
            {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}, "reasoning_effort": "none"},
            set(),
        ),
        ('extra_body={"top_k": 20, "provider": {"order": ["a"]}}', {"top_k": 20, "provider": {"order": ["a"]}}, set()),
        ("stop=%0A&stop=Therapist:", {"stop": ["\n", "Therapist:"]}, set()),
    ],
)
def test_an_option_says_what_is_sent_and_belongs_to_the_key_of_the_reply(
    options: str, sent: dict[str, Any], absent: set[str], tmp_path: Any
):
    with FaultServer() as server, ReplyCache(tmp_path / "r") as cache:
        with asked_by(options, server) as asked, client(server) as plain:
            for one in (asked, plain, asked):
                one.use(ModelResources((cache,)))
                one.complete([REQUEST])
            usual = {"model": "some-model", "base_url": server.base_url}
            assert (asked.endpoint.identity == usual) == (options == "seed=32")
        assert len(server.calls) == (1 if options == "seed=32" else 2)
        found = server.calls[0].sent
    assert {name: found[name] for name in sent} == sent
    assert not absent & found.keys()


def test_headers_and_queries_are_sent_and_secrets_come_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GATEWAY", SECRET)
    monkeypatch.setenv("AZURE_KEY", "az-1234567890")
    options = "header=X-Team:speech&header=X-Pass:env:GATEWAY&query=api-version=2024-10-21&query=sig=env:GATEWAY"
    with FaultServer() as server:
        for more in ("key_env=AZURE_KEY", "key_env=AZURE_KEY&header=api-key"):
            with asked_by(f"{options}&{more}", server) as asked:
                assert outcomes(asked.complete(requests(1))) == {"right": 1}
                assert SECRET not in repr(asked) + repr(asked.endpoint) + json.dumps(asked.endpoint.identity)
        bearer, azure = (call.headers for call in server.calls)
        assert (bearer["x-team"], bearer["x-pass"], bearer["authorization"]) == (
            "speech",
            SECRET,
            "Bearer az-1234567890",
        )
        assert (azure["api-key"], azure.get("authorization")) == ("az-1234567890", None)
        assert {call.target for call in server.calls} == {f"/v1/chat/completions?api-version=2024-10-21&sig={SECRET}"}


@pytest.mark.parametrize(
    "options",
    [
        *["header=X-Auth-Key:hunter2", "header=X-Team:sk-hunter2", f"header=X-Team:{'hunter2' * 6}", "header=:hunter2"],
        *[
            "header=Host:hunter2",
            "header=X:env:hunter2 x",
            "header=X:h\u00fcnter2",
            "query=key=hunter2",
            "query=hunter2",
        ],
        *["key_env=sk-hunter2", "key_env=hunter2_unset", "header=X:env:hunter2_unset", "query=a=env:hunter2_unset"],
        *['extra_body={"api_key": "hunter2"}', 'extra_body={"a": ["Bearer hunter2"]}', "extra_body=hunter2"],
        *['extra_body={"messages": []}', "limit=hunter2", "seed=64", "thinking=hunter2", "timeout=0", "timeout=inf"],
        *[
            "temperature=hunter2",
            "temperature=-1",
            "unknown=1",
            "max_tokens=1&max_tokens=2",
            "limit=max_tokens&limit=x",
        ],
    ],
)
@pytest.mark.parametrize("load", [load_speaker, load_judge])
def test_an_option_that_cannot_be_used_is_refused_in_one_line_without_a_secret(load: Any, options: str):
    with pytest.raises(InputError, match=r"^Expected ") as caught:
        load(f"openai:m@http://127.0.0.1:9/v1?{options}")
    shown = str(caught.value)
    assert "\n" not in shown
    if "env" not in options and options.partition("=")[0] in ("header", "query", "extra_body"):
        assert "hunter2" not in shown
    assert "sk-" not in shown


def test_an_option_comes_again_only_where_a_request_has_several():
    assert Spec.parse("openai:m?stop=a&stop=b").options == {"stop": "a\x1fb"}
    with pytest.raises(InputError, match="once"):
        Spec.parse("openai:m?limit=a&limit=b")


def test_a_spec_is_shown_without_what_stands_in_its_headers():
    shown = shown_spec("openai:m@http://h/v1?header=X-Pass:hunter2&query=sig=hunter2&timeout=9")
    assert shown == "openai:m@http://h/v1?header=X-Pass:***&query=sig=***&timeout=9"


def test_a_secret_is_sent_over_https_and_to_this_machine_only(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GATEWAY", SECRET)
    with FaultServer(lambda call: status(401)) as proxy:
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        rest, options = "m@http://models.invalid/v1", {"header": "X-Pass:env:GATEWAY", "query": "sig=env:GATEWAY"}
        with ChatClient(Endpoint.parse(rest, options)) as asked, pytest.raises(AccessDenied, match="use https"):
            asked.complete(requests(1))
        assert SECRET not in repr(proxy.calls)


def test_a_model_without_a_server_is_that_of_the_environment_or_of_the_provider(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert Endpoint.parse("gpt-x") == Endpoint("gpt-x", "https://api.openai.com/v1")
    assert Endpoint.parse("model@001").model == "model@001"
    with FaultServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.base_url}/")
        speaker = load_speaker("openai:gpt-x?temperature=none")
        assert isinstance(speaker, RemoteSpeaker)
        with speaker.client as asked:
            asked.complete(requests(1))
        assert server.calls[0].sent["model"] == "gpt-x"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://ann:hunter2@host/v1")
    with pytest.raises(InputError, match="user or password") as caught:
        load_speaker("openai:gpt-x")
    assert "hunter2" not in str(caught.value)


def refusing(**refused: str) -> Any:
    """A server that refuses fields of a request, each in its own words."""

    def behave(call: Call) -> Behaviour:
        said = next((said for name, said in refused.items() if name in call.sent), "")
        return raw(said.encode(), 400 if "error" in said else 422) if said else well

    return behave


OPENAI = '{"error": {"message": "Unsupported parameter: \'%s\' is not supported with this model.%s", "param": "%s"}}'
HOSTED = dict(
    max_tokens=OPENAI % ("max_tokens", " Use 'max_completion_tokens' instead.", "max_tokens"),
    temperature=OPENAI % ("temperature", " Only the default (1) value is supported.", "temperature"),
    seed='{"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}',
    response_format='{"error": {"message": "This response_format type is unavailable now"}}',
)


def test_what_a_server_refuses_of_a_request_is_learned_once_by_the_first_request():
    with FaultServer(refusing(**HOSTED)) as server, client(server) as asked:
        many = [ChatRequest(one.messages, 7, 0.5, 3, {"type": "object"}) for one in requests(40)]
        assert outcomes(asked.complete(many)) == {"right": 40}
        assert len(server.calls) == asked.usage.calls == len(HOSTED) + 40
        assert server.calls[-1].sent.keys() == {"messages", "max_completion_tokens", "stream", "model"}
        assert server.calls[-1].sent["max_completion_tokens"] == 7


@pytest.mark.parametrize(
    "said",
    [
        '{"error": {"message": "temperature must be between 0 and 1, got 1.5"}}',
        '{"error": {"message": "max_tokens is too large: 7. This model supports at most 5 tokens."}}',
        '{"error": {"message": "Unsupported parameter: top_k", "param": "top_k"}}',
    ],
)
def test_a_wrong_value_is_not_taken_for_a_field_that_is_not_taken(said: str):
    with FaultServer(lambda call: raw(said.encode(), 400)) as server, client(server) as asked:
        (fault,) = asked.complete([REQUEST])
        assert isinstance(fault, Refused)
        assert json.loads(said)["error"]["message"] in str(fault)
        assert len(server.calls) == 2
        assert {"temperature", "seed", "max_tokens"} <= server.calls[-1].sent.keys()


@pytest.mark.parametrize("code", ["400", '"invalid_request_error"'])
def test_a_refusal_inside_of_a_reply_is_one(code: str):
    for body in (
        '{"error": {"message": "too long", "code": %s}}',
        '{"object": "error", "message": "too long", "code": %s}',
    ):
        with FaultServer(lambda call, body=body: raw((body % code).encode())) as server, client(server) as asked:
            (fault,) = asked.complete(requests(1))
            assert str(fault) == "the request was refused (status 400): too long"
            assert len(server.calls) == 2


@pytest.mark.parametrize(
    "said",
    [
        '{"error": {"message": "Unsupported parameter: max_tokens"}}',
        '{"detail": [{"loc": ["body", "max_tokens"], "msg": "extra fields not permitted"}]}',
    ],
)
def test_the_bound_is_given_by_its_other_name_where_its_own_is_not_taken(said: str):
    with FaultServer(refusing(max_tokens=said)) as server, client(server) as asked:
        assert outcomes(asked.complete(requests(3))) == {"right": 3}
        assert len(server.calls) == 4


def test_a_model_that_thinks_gets_room_once_its_thought_has_taken_all():
    def behave(call: Call) -> Behaviour:
        return cut_off if call.sent["max_tokens"] < 2000 else well

    with FaultServer(behave) as server, client(server) as asked:
        assert outcomes(asked.complete(requests(1))) == {"right": 1}
        assert outcomes(asked.complete(requests(20))) == {"right": 20}
        assert len(server.calls) == 22


ERRORS = {
    '{"error": {"message": "The model does not exist."}}': "The model does not exist.",
    '{"error": "no such model"}': "no such model",
    '{"object": "error", "message": "too long", "code": 400}': "too long",
    '{"detail": "Not here"}': "Not here",
    '{"detail": [{"loc": ["body", "top_k"], "msg": "not a number"}]}': "not a number (body.top_k)",
    '[{"error": {"message": "Unknown name", "status": "INVALID_ARGUMENT"}}]': "Unknown name",
    "plain words": "plain words",
    '{"error": {"message": "two\\nlines \\u001b[2J\\u202e"}}': "two lines \\x1b[2J\\u202e",
    "<html><body>Bad request</body></html>": "",
    "x" * 20_000: "",
    "y" * 9000: f"{'y' * 297}...",
    '{"error": {"message": 5}}': "",
    "[" * 9000: "",
}


@pytest.mark.parametrize("body", ERRORS, ids=lambda body: body[:30])
def test_a_refusal_says_what_the_server_said_in_one_short_line(body: str):
    with FaultServer(lambda call: raw(body.encode(), 400)) as server, client(server) as asked:
        (fault,) = asked.complete(requests(1))
    said = ERRORS[body]
    assert str(fault) == f"the request was refused (status 400){f': {said}' if said else ''}"


def test_a_server_that_refuses_everything_ends_the_run_soon_and_says_why():
    for code, most in ((400, 8), (404, 3)):
        with (
            FaultServer(lambda call, code=code: raw(b'{"error": "no model m"}', code)) as server,
            client(server) as asked,
        ):
            with pytest.raises(AccessDenied, match=rf"status {code}\): no model m"):
                asked.complete(requests(40))
            assert len(server.calls) == most


def test_a_server_that_refuses_some_ends_nothing():
    def behave(call: Call) -> Behaviour:
        return status(400) if int(call.prompt.split()[-1]) % 2 else well

    with FaultServer(behave) as server, client(server) as asked:
        assert outcomes(asked.complete(requests(40))) == {"right": 20, "Refused": 20}


def test_a_spent_credit_ends_the_run_at_once():
    quota = raw(b'{"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}', 429)
    for behaviour in (quota, status(402)):
        with FaultServer(lambda call, b=behaviour: b) as server, client(server) as asked:
            with pytest.raises(AccessDenied, match="pay for more"):
                asked.complete(requests(9))
            assert len(server.calls) == 1


def test_a_reply_that_is_withheld_is_a_kind_of_its_own():
    with FaultServer(lambda call: WITHHELD["a refused prompt"]) as server, client(server) as asked:
        (fault,) = asked.complete(requests(1))
    assert isinstance(fault, Filtered)
