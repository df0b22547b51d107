"""A key stands in one header and nowhere else."""

import json
import logging
import traceback

import pytest

from persona_env.models.client import BadReply, ChatReply
from tests.models.asked import client, requests
from tests.models.behaviours import BAD_BODIES, HTTP_FAULTS, Wire, completion, status
from tests.models.fault_server import FaultServer

KEY = "sk-hunter2-0123456789"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def echo(code: int, **headers: str):
    async def behave(wire: Wire) -> None:
        said = json.dumps({"error": {"message": f"Incorrect API key provided: {wire.call.headers['authorization']}"}})
        await wire.respond(said.encode(), code, x_key=KEY, **headers)

    return behave


@pytest.mark.parametrize("code", [200, 204, 301, 401, 403, 404, 429, 500, 503])
def test_a_server_that_echoes_the_key_gets_it_into_nothing(code: int, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    with FaultServer(lambda call: echo(code)) as server, client(server, attempts=1, patience=0.3) as asked:
        try:
            shown = repr(asked.complete(requests(1)))
        except Exception as error:
            shown = "".join(traceback.format_exception(error)) + repr(error)
        assert server.calls[0].headers["authorization"] == f"Bearer {KEY}"
        assert "hunter2" not in shown + repr(asked) + str(asked.usage) + caplog.text


def test_a_reply_that_holds_the_key_is_no_reply():
    for text in (f"The key is {KEY}.", KEY):
        escaped = json.dumps(completion(text)).replace("hunter", "\\u0068unter")

        async def behave(wire: Wire, body: bytes = escaped.encode()) -> None:
            await wire.respond(body)

        with FaultServer(lambda call: behave) as server, client(server, attempts=1) as asked:
            (fault,) = asked.complete(requests(1))
            assert isinstance(fault, BadReply)
            assert "hunter2" not in str(fault)


def test_nothing_is_logged_through_all_faults(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    ways = [way for name, way in (HTTP_FAULTS | BAD_BODIES).items() if "429" not in name]
    with FaultServer(lambda call: ways[call.number % len(ways)]) as server, client(server, attempts=1) as asked:
        asked.complete(requests(60))
    assert "hunter2" not in caplog.text
    assert server.base_url not in caplog.text
    assert "line 1" not in caplog.text


def test_proxies_and_netrc_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch):
    with FaultServer(lambda call: status(500)) as proxy, FaultServer() as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        with client(server) as asked:
            assert isinstance(asked.complete(requests(1))[0], ChatReply)
        assert not proxy.calls


def test_without_a_key_no_header_is_sent(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with FaultServer() as server, client(server) as asked:
        asked.complete(requests(1))
        assert "authorization" not in server.calls[0].headers
