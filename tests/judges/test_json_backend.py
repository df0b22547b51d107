"""The remote judge against real HTTP servers on loopback: one that honours the schema, and some that do not."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from persona_env.errors import JudgeUnreliable
from persona_env.judges import LineVsHistory, LineVsPersona
from persona_env.judges.backend import JudgePrompt
from persona_env.judges.json_backend import JSONBackend
from persona_env.judges.llm import LLMJudge
from persona_env.models.chat_api import ChatClient
from persona_env.models.endpoint import Endpoint
from persona_env.models.faults import Unavailable
from persona_env.models.limits import ModelResources
from persona_env.models.reply_cache import ReplyCache
from persona_env.persona import Persona
from persona_env.world.oracle import OracleJudge
from tests.judges.backends import grammatical

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
    good = ("Is everything", "Is the patient's answer right", "Does the patient's reply resp")
    is_positive = key == "compatible" or (key == "answer" and text.startswith(good))
    return JudgePrompt("positive" if is_positive else "negative", system["content"], text, value.get("maxItems", 0))


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


@contextmanager
def served(spoil=lambda times, text: text, max_unreadable=256):
    """A server and a judge that asks it."""
    with Server(spoil) as server:
        client = ChatClient(Endpoint("grammar", server.url), max_retries=2, max_in_flight=8)
        judge = LLMJudge(JSONBackend(client, max_unreadable=max_unreadable))
        yield server, judge
        judge.close()


@pytest.fixture
def judge():
    with served() as found:
        yield found


def test_it_says_what_the_oracle_says_and_asks_each_query_twice(judge):
    server, made = judge
    queries = [RIGHT, WRONG, HISTORY]
    verdicts, exact = made.judge(queries), OracleJudge().judge(queries)
    assert [(v.label, v.conflicts) for v in verdicts] == [(v.label, v.conflicts) for v in exact]
    assert len(server.requests) == made.usage.calls == 6
    assert all(verdict.probability is None for verdict in verdicts)  # a server may make them up


def test_the_schema_and_nothing_random_is_asked_for(judge):
    server, made = judge
    made.judge([RIGHT, HISTORY])
    forms = [body["response_format"]["json_schema"]["schema"] for body in server.requests]
    assert all(form["additionalProperties"] is False for form in forms)
    assert sorted(next(iter(form["properties"])) for form in forms) == ["answer", "answer", "compatible", "conflicts"]
    assert {body["temperature"] for body in server.requests} == {0.0}


def test_a_reply_in_another_form_is_asked_again():
    with served(lambda times, text: f"Sure! {text}" if times == 1 else text) as (_, made):
        verdicts = made.judge([RIGHT, WRONG, HISTORY])
    assert [v.label for v in verdicts] == ["consistent", "inconsistent", "inconsistent"]
    assert (made.usage.calls, made.usage.retries) == (12, 6)


@pytest.mark.parametrize("text", ["It fits.", '{"answer": "A"} ok', "{}", '{"conflicts": "none"}', "NO"])
def test_a_server_that_ignores_the_schema_is_never_believed(text):
    with served(lambda times, reply: text) as (_, made):
        verdicts = made.judge([RIGHT, WRONG])
    assert {verdict.label for verdict in verdicts} == {"invalid"}
    assert all(verdict.reason for verdict in verdicts)


def test_a_server_that_never_answers_in_the_form_ends_the_run_in_order():
    with served(lambda times, reply: "I think that is fine.", max_unreadable=6) as (_, made):
        made.judge([RIGHT])
        with pytest.raises(JudgeUnreliable, match="honours response_format") as caught:
            made.judge([RIGHT, WRONG])
    assert caught.value.exit_code == 77
    assert "\n" not in str(caught.value)


def test_one_readable_answer_starts_the_count_anew():
    with served(lambda times, reply: reply if '"A"' in reply else "Fine.", max_unreadable=3) as (_, made):
        verdicts = made.judge([RIGHT, WRONG] * 6)
    assert {verdict.label for verdict in verdicts} == {"invalid"}


def hang_up(times, text):
    raise ConnectionAbortedError


def test_replies_that_came_before_an_outage_are_not_asked_for_again(tmp_path):
    with served() as (server, made), ReplyCache(tmp_path / "replies.sqlite") as cache:
        made.use(ModelResources((cache,), outage_timeout=0.2))
        before = made.judge([RIGHT, WRONG])
        server.http.shutdown()
        server.http.server_close()
        server.spoil = hang_up  # on the connections that are still open
        assert made.judge([WRONG, RIGHT]) == before[::-1]
        with pytest.raises(Unavailable):
            made.judge([RIGHT, HISTORY])
    assert made.usage.cached >= 4


def test_the_identity_names_model_and_server_and_no_key(judge, monkeypatch):
    server, made = judge
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    backend = made.identity["backend"]
    assert (backend["model"], backend["base_url"]) == ("grammar", server.url)
    assert "sk-secret" not in json.dumps(made.identity)


@pytest.mark.parametrize("settings", [{"max_tokens": 0}, {"max_unreadable": 0}])
def test_settings_that_cannot_be_used_are_refused(judge, settings):
    with pytest.raises(ValueError, match=r"Expected max_\w+ >= 1, got 0"):
        JSONBackend(judge[1].backend.client, **settings)
