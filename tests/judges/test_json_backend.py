"""The remote judge against real HTTP servers on loopback: one that honours the schema, some that do not, a slow one."""

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from persona_env.errors import JudgeUnreliable
from persona_env.judges import LineVsHistory, LineVsPersona, load_judge
from persona_env.judges.backend import JudgePrompt
from persona_env.judges.json_backend import JSONBackend
from persona_env.judges.llm import LLMJudge
from persona_env.models.chat_api import ChatClient
from persona_env.models.endpoint import Endpoint
from persona_env.models.faults import Unavailable
from persona_env.models.limits import ModelResources
from persona_env.models.reply_cache import ReplyCache
from persona_env.persona import Persona
from persona_env.testing import check_judge
from persona_env.testing.samples import sample_queries
from persona_env.world.oracle import OracleJudge
from tests.judges.backends import grammatical
from tests.judges.chat_families import tokenizer
from tests.speakers.small import model

MEI = Persona("m", "patient", "Mei", "You are Mei. You sleep four hours a night.")
RIGHT = LineVsPersona(MEI, "About four hours.", "How long do you sleep?")
WRONG = LineVsPersona(MEI, "About five hours.", "How long do you sleep?")
HISTORY = LineVsHistory("patient", "About four hours.", ("My mood is sad.", "My nights are five hours.", "Pretty sad."))
FORM = "\n\nReply with one JSON object"


def prompt_of(body):
    """The prompt that a request came from, read from the request alone."""
    (system, user), schema = body["messages"], body["response_format"]["json_schema"]["schema"]
    ((key, value),) = schema["properties"].items()
    text = user["content"].partition(FORM)[0]
    yes = "negative" if key == "conflicts" else "positive"
    if key == "answer":
        yes = (
            "positive"
            if text.startswith(("Is everything", "Is the patient's answer right", "Does the patient's reply resp"))
            else "negative"
        )
    return JudgePrompt(yes, system["content"], text, value.get("maxItems", 0))


class Server:
    """An OpenAI-compatible server whose model knows the grammar; `spoil` sees how often it was asked the same."""

    def __init__(self, spoil=lambda times, text: text):
        self.requests, self.spoil, lock = [], spoil, threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    outer.requests.append(body)
                    times = sum(known["messages"] == body["messages"] for known in outer.requests)
                text = outer.spoil(times, grammatical(prompt_of(body)))
                message = {"role": "assistant", "content": text}
                choice = {"index": 0, "message": message, "finish_reason": "stop"}
                usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
                data = json.dumps({"object": "chat.completion", "choices": [choice], "usage": usage}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.http.shutdown()
        self.http.server_close()


def judge_of(server, max_unreadable=256, **settings):
    client = ChatClient(Endpoint("grammar", server.url), max_retries=2, max_in_flight=8, **settings)
    return client, LLMJudge(JSONBackend(client, max_unreadable=max_unreadable))


@pytest.fixture
def judge():
    with Server() as server:
        client, made = judge_of(server)
        yield server, made
        client.close()


def test_it_passes_the_kit_over_http(judge):
    check_judge(judge[1], queries=sample_queries()[:32])


def test_it_says_what_the_oracle_says_and_asks_each_query_twice(judge):
    server, made = judge
    queries = [RIGHT, WRONG, HISTORY]
    verdicts, exact = made.judge(queries), OracleJudge().judge(queries)
    assert [(v.label, v.conflicts) for v in verdicts] == [(v.label, v.conflicts) for v in exact]
    assert len(server.requests) == made.usage.calls == 6
    assert all(verdict.probability is None for verdict in verdicts)  # a server may make them up


def test_both_polarities_of_all_queries_go_out_in_one_call(judge, monkeypatch):
    _, made = judge
    client, calls = made.backend.client, []
    complete = client.complete
    monkeypatch.setattr(
        client, "complete", lambda asked, accept=None: calls.append(len(asked)) or complete(asked, accept)
    )
    made.judge([RIGHT, WRONG, HISTORY])
    assert calls == [6]


def test_the_schema_and_nothing_random_is_asked_for(judge):
    server, made = judge
    made.judge([RIGHT, HISTORY])
    forms = [body["response_format"]["json_schema"]["schema"] for body in server.requests]
    assert all(form["additionalProperties"] is False for form in forms)
    assert sorted(next(iter(form["properties"])) for form in forms) == ["answer", "answer", "compatible", "conflicts"]
    assert {body["temperature"] for body in server.requests} == {0.0}


def test_a_reply_in_another_form_is_asked_again():
    with Server(lambda times, text: f"Sure! {text}" if times == 1 else text) as server:
        client, made = judge_of(server)
        verdicts = made.judge([RIGHT, WRONG, HISTORY])
        client.close()
    assert [v.label for v in verdicts] == ["consistent", "inconsistent", "inconsistent"]
    assert (made.usage.calls, made.usage.retries) == (12, 6)


@pytest.mark.parametrize("text", ["It fits.", '{"answer": "A"} ok', "{}", '{"conflicts": "none"}', "NO"])
def test_a_server_that_ignores_the_schema_is_never_believed(text):
    with Server(lambda times, reply: text) as server:
        client, made = judge_of(server)
        verdicts = made.judge([RIGHT, WRONG])
        client.close()
    assert {verdict.label for verdict in verdicts} == {"invalid"}
    assert all(verdict.reason for verdict in verdicts)


def test_a_server_that_never_answers_in_the_form_ends_the_run_in_order():
    with Server(lambda times, reply: "I think that is fine.") as server:
        client, made = judge_of(server, max_unreadable=6)
        made.judge([RIGHT])
        with pytest.raises(JudgeUnreliable, match="honours response_format") as caught:
            made.judge([RIGHT, WRONG])
        client.close()
    assert caught.value.exit_code == 77
    assert "\n" not in str(caught.value)


def test_one_readable_answer_starts_the_count_anew():
    with Server(lambda times, reply: reply if '"A"' in reply else "Fine.") as server:
        client, made = judge_of(server, max_unreadable=3)
        verdicts = made.judge([RIGHT, WRONG] * 6)
        client.close()
    assert {verdict.label for verdict in verdicts} == {"invalid"}


def hang_up(times, text):
    raise ConnectionAbortedError


def test_replies_that_came_before_an_outage_are_not_asked_for_again(tmp_path):
    with Server() as server, ReplyCache(tmp_path / "replies.sqlite") as cache:
        client, made = judge_of(server)
        made.use(ModelResources((cache,), outage_timeout=0.2))
        before = made.judge([RIGHT, WRONG])
        server.http.shutdown()
        server.http.server_close()
        server.spoil = hang_up  # on the connections that are still open
        assert made.judge([WRONG, RIGHT]) == before[::-1]
        with pytest.raises(Unavailable):
            made.judge([RIGHT, HISTORY])
        client.close()
    assert client.usage.cached >= 4


def test_a_fixed_reply_contradicts_itself():
    for reply in ('{"answer": "A"}', '{"answer": "B"}'):
        with Server(lambda times, text, reply=reply: reply) as server:
            client, made = judge_of(server)
            assert {v.label for v in made.judge([RIGHT, WRONG])} == {"invalid"}
            client.close()


def test_the_identity_names_model_and_server_and_no_key(judge, monkeypatch):
    server, made = judge
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    backend = made.identity["backend"]
    assert (backend["model"], backend["base_url"]) == ("grammar", server.url)
    assert "sk-secret" not in json.dumps(made.identity)


def test_a_spec_names_the_model_and_the_server():
    with Server() as server:
        made = load_judge(f"openai:grammar@{server.url}")
        assert isinstance(made, LLMJudge)
        assert [v.label for v in made.judge([RIGHT, WRONG])] == ["consistent", "inconsistent"]
        made.close()


@pytest.mark.parametrize("settings", [{"max_tokens": 0}, {"max_unreadable": 0}])
def test_settings_that_cannot_be_used_are_refused(judge, settings):
    with pytest.raises(ValueError, match="max_tokens and max_unreadable"):
        JSONBackend(judge[1].backend.client, **settings)


@pytest.mark.slow
def test_a_real_server_that_ignores_response_format_gives_no_verdict(tmp_path):
    """`transformers serve` accepts a schema and writes what it likes; a model without training likes noise."""
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    made = tokenizer("zephyr")
    model(vocabulary=len(made), length=4096, eos_token_id=made.eos_token_id).save_pretrained(tmp_path / "model")
    made.save_pretrained(tmp_path / "model")
    (tmp_path / "home" / "hub").mkdir(parents=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(tmp_path / "model")]
    command += ["--device", "cpu", "--dtype", "float32", "--host", "127.0.0.1", "--port", str(port)]
    quiet = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    with open(tmp_path / "log", "w", encoding="utf-8") as log:
        server = subprocess.Popen(command, env={**os.environ, **quiet}, stdout=log, stderr=log)
    try:
        _wait(port, server, tmp_path / "log")
        client = ChatClient(Endpoint(str(tmp_path / "model"), f"http://127.0.0.1:{port}/v1"), max_retries=1)
        verdicts = LLMJudge(JSONBackend(client)).judge([RIGHT, WRONG, HISTORY])
        client.close()
        assert {verdict.label for verdict in verdicts} == {"invalid"}
        assert all("JSON" in verdict.reason or "object" in verdict.reason for verdict in verdicts), verdicts
    finally:
        server.terminate()
        server.wait(timeout=30)


def _wait(port, server, log):
    for _ in range(240):
        assert server.poll() is None, log.read_text()
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                connection.close()
                return
        except OSError:
            pass
        time.sleep(0.5)
    raise AssertionError(log.read_text())
