"""A key stands in one header and nowhere else; who gets it, and who is trusted."""

import json
import logging
import shutil
import ssl
import subprocess
import traceback
from pathlib import Path

import pytest

from persona_env.models.chat_api import ChatClient
from persona_env.models.endpoint import Endpoint
from persona_env.models.faults import AccessDenied, BadReply
from tests.models.asked import client, outcomes, requests
from tests.models.behaviours import Wire, completion, raw, status
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
    with FaultServer(lambda call: echo(code)) as server, client(server, max_retries=0, outage_timeout=0.3) as asked:
        try:
            shown = repr(asked.complete(requests(1)))
        except Exception as error:
            shown = "".join(traceback.format_exception(error)) + repr(error)
        assert server.calls[0].headers["authorization"] == f"Bearer {KEY}"
        assert "hunter2" not in shown + repr(asked) + str(asked.usage) + caplog.text
        assert server.base_url not in caplog.text
        assert "line 0" not in caplog.text


@pytest.mark.parametrize("said", [KEY, KEY.upper(), f"sk-...{KEY[4:]}", f"{KEY[:12]}***", f"x{KEY}x", f"<b>{KEY}"])
@pytest.mark.parametrize("header", [None, "X-Pass:env:OPENAI_API_KEY"])
def test_no_part_of_a_secret_that_a_refusal_repeats_is_shown(said: str, header: str | None):
    refuses = raw(json.dumps({"error": {"message": f"Not with {said}"}}).encode(), 400)
    with FaultServer(lambda call: refuses) as server:
        options = {"header": header} if header else {}
        with ChatClient(Endpoint.parse(server.spec, options), max_retries=0) as asked:
            (fault,) = asked.complete(requests(1))
    assert "hunter2" not in str(fault).casefold()


@pytest.mark.parametrize("code", [401, 403])
def test_a_wrong_key_ends_the_run_after_one_call(code: int):
    with FaultServer(lambda call: status(code)) as server, client(server) as asked:
        with pytest.raises(AccessDenied, match=f"status {code}: put a valid key into OPENAI_API_KEY, then resume"):
            asked.complete(requests(80))
        assert len(server.calls) == 1


def test_a_reply_that_holds_the_key_is_no_reply():
    escaped = json.dumps(completion(f"The key is {KEY}.")).replace("hunter", "\\u0068unter").encode()
    with FaultServer(lambda call: raw(escaped)) as server, client(server, max_retries=0) as asked:
        (fault,) = asked.complete(requests(1))
        assert isinstance(fault, BadReply)
        assert "hunter2" not in str(fault)


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch):
    with FaultServer() as proxy:
        for no, yes in (("no_proxy", "http_proxy"), ("NO_PROXY", "HTTP_PROXY")):
            monkeypatch.delenv(no, raising=False)
            monkeypatch.setenv(yes, f"http://127.0.0.1:{proxy.port}")
        yield proxy


def test_a_proxy_of_the_environment_is_used_but_not_for_this_machine(proxy: FaultServer):
    with ChatClient(Endpoint("m", "http://models.invalid/v1"), max_retries=0) as asked:
        assert outcomes(asked.complete(requests(1))) == {"right": 1}
    with FaultServer() as server, client(server) as asked:
        assert outcomes(asked.complete(requests(1))) == {"right": 1}
    assert [call.target for call in proxy.calls] == ["http://models.invalid/v1/chat/completions"]


def test_a_key_is_sent_over_plain_http_to_this_machine_only(proxy: FaultServer):
    proxy.behave = lambda call: status(401)
    told = pytest.raises(AccessDenied, match="not sent over plain http to another machine, use https")
    with ChatClient(Endpoint("m", "http://models.invalid/v1")) as asked, told:
        asked.complete(requests(1))
    assert "authorization" not in proxy.calls[0].headers


def test_a_password_of_netrc_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login ann password hunter3\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("OPENAI_API_KEY")
    with FaultServer() as server, client(server) as asked:
        asked.complete(requests(1))
        assert "authorization" not in server.calls[0].headers


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
def test_https_is_spoken_and_a_server_that_cannot_show_who_it_is_is_told_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"  # nobody has signed it but itself
    run = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    run += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(run, check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with FaultServer(tls=tls) as server:
        with client(server) as asked, pytest.raises(AccessDenied, match="a certificate"):
            asked.complete(requests(1))
        assert not server.calls
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with client(server) as asked:
            assert outcomes(asked.complete(requests(30))) == {"right": 30}
        assert server.connections < 30
