"""The remote judge against real HTTP servers on loopback: one that honours the schema, and some that do not."""

import json
import re
from collections import Counter
from contextlib import contextmanager

import pytest

from persona_env.errors import JudgeUnreliable
from persona_env.judges import LineVsHistory, LineVsPersona
from persona_env.judges.json_backend import JSONBackend
from persona_env.judges.llm import LLMJudge
from persona_env.models.chat_api import ChatClient
from persona_env.models.endpoint import Endpoint
from persona_env.models.faults import Unavailable
from persona_env.models.limits import ModelResources
from persona_env.models.reply_cache import ReplyCache
from persona_env.persona import Persona
from persona_env.world.oracle import OracleJudge
from tests.judges.backends import by_hash, hashed_verdicts, reply
from tests.models.behaviours import by_chance, misdirected, status
from tests.models.fault_server import FaultServer

MEI = Persona("m", "patient", "Mei", "You are Mei. You sleep four hours a night.")
RIGHT = LineVsPersona(MEI, "About four hours.", "How long do you sleep?")
WRONG = LineVsPersona(MEI, "About five hours.", "How long do you sleep?")
HISTORY = LineVsHistory("patient", "About four hours.", ("My mood is sad.", "My nights are five hours.", "Pretty sad."))


def honest(times, text):
    return text


@contextmanager
def served(spoil=honest, max_unreadable=256):
    """A server and a judge that asks it; `spoil` sees how often it was asked the same, and the right reply."""
    times = Counter()

    def answer(prompt):
        times[prompt] += 1
        return spoil(times[prompt], reply(prompt))

    with FaultServer(answer=answer) as server:
        client = ChatClient(Endpoint.parse(server.spec), max_retries=2, max_in_flight=8)
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
    assert len(server.calls) == made.usage.calls == 6
    assert all(verdict.probability is None for verdict in verdicts)  # a server may make them up


def test_the_schema_and_nothing_random_is_asked_for(judge):
    server, made = judge
    made.judge([RIGHT, HISTORY])
    forms = [call.sent["response_format"]["json_schema"]["schema"] for call in server.calls]
    assert all(form["additionalProperties"] is False for form in forms)
    assert all(next(iter(form["properties"])) == "id" for form in forms)
    keys = sorted(list(form["properties"])[1] for form in forms)
    assert keys == ["answer", "answer", "compatible", "conflicts"]
    assert {call.sent["temperature"] for call in server.calls} == {0.0}


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


@pytest.mark.parametrize("way", misdirected())
def test_a_reply_is_never_taken_for_that_of_another(way):
    faults = by_chance(0.3, {way: misdirected()[way]})
    with FaultServer(faults, answer=by_hash) as server, ChatClient(Endpoint.parse(server.spec)) as client:
        assert hashed_verdicts(JSONBackend(client), 200) == {"right": 200}


def test_a_judge_that_repeats_a_wrong_id_is_asked_twice_and_not_believed():
    with served(lambda times, text: re.sub('"id": "..', '"id": "xx', text)) as (server, made):
        verdicts = made.judge([RIGHT, WRONG])
        assert len(server.calls) == 2 * 4
    assert {verdict.label for verdict in verdicts} == {"invalid"}
    assert "another id" in verdicts[0].reason


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


def test_replies_that_came_before_an_outage_are_not_asked_for_again(tmp_path):
    with served() as (server, made), ReplyCache(tmp_path / "replies.sqlite") as cache:
        made.use(ModelResources((cache,), outage_timeout=0.2))
        before = made.judge([RIGHT, WRONG])
        server.behave = lambda call: status(503)
        assert made.judge([WRONG, RIGHT]) == before[::-1]
        with pytest.raises(Unavailable):
            made.judge([RIGHT, HISTORY])
    assert made.usage.cached >= 4


def test_the_identity_names_model_and_server_and_no_key(judge, monkeypatch):
    server, made = judge
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    backend = made.identity["backend"]
    assert (backend["model"], backend["base_url"]) == ("some-model", server.base_url)
    assert "sk-secret" not in json.dumps(made.identity)


@pytest.mark.parametrize("settings", [{"max_tokens": 0}, {"max_unreadable": 0}])
def test_settings_that_cannot_be_used_are_refused(judge, settings):
    with pytest.raises(ValueError, match=r"Expected max_\w+ >= 1, got 0"):
        JSONBackend(judge[1].backend.client, **settings)
