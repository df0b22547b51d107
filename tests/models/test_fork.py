"""A client in another process: forked with it, or sent there."""

from __future__ import annotations

import multiprocessing
import pickle
import threading
import time
from multiprocessing.connection import Connection

import pytest

from persona_env.judges import load_judge
from persona_env.judges.llm import LLMJudge
from persona_env.models.client import ChatClient
from tests.models.asked import client, outcomes, requests
from tests.models.behaviours import hang, well
from tests.models.fault_server import FaultServer

FORK = multiprocessing.get_context("fork")


def in_child(asked: ChatClient) -> tuple[dict[str, int], int]:
    """Returns what a forked child gets from a client, and the calls that the client counts there."""

    def ask(end: Connection) -> None:
        end.send((dict(outcomes(asked.complete(requests(5)))), asked.usage.calls))

    ours, theirs = FORK.Pipe()
    child = FORK.Process(target=ask, args=(theirs,))
    child.start()
    try:
        assert ours.poll(20), "the child hangs"
        return ours.recv()
    finally:
        child.kill()
        child.join()


def test_parent_and_forked_child_both_ask_over_connections_of_their_own():
    with FaultServer() as server, client(server) as asked:
        assert outcomes(asked.complete(requests(5))) == {"right": 5}
        opened = server.connections
        assert in_child(asked) == ({"right": 5}, 10)
        assert server.connections > opened
        assert outcomes(asked.complete(requests(5))) == {"right": 5}
        assert (asked.usage.calls, asked.usage.retries) == (10, 0)
        assert in_child(asked) == ({"right": 5}, 15)


def test_a_child_that_is_forked_while_the_parent_waits_does_not_wait_with_it():
    open_to_all = threading.Event()
    with (
        FaultServer(lambda call: well if open_to_all.is_set() else hang) as server,
        client(server, max_in_flight=1, deadline=60) as asked,
    ):
        asked.submit(requests(3))
        while not server.in_flight:
            time.sleep(0.01)
        open_to_all.set()
        assert in_child(asked)[0] == {"right": 5}


def test_a_closed_client_stays_closed_in_a_child():
    with FaultServer() as server:
        asked = client(server)
        asked.complete(requests(1))
        asked.close()

        def ask(end: Connection) -> None:
            with pytest.raises(ValueError, match="closed one"):
                asked.complete(requests(1))
            end.send("refused")

        ours, theirs = FORK.Pipe()
        child = FORK.Process(target=ask, args=(theirs,))
        child.start()
        assert ours.poll(20)
        child.join()


def test_a_judge_that_is_pickled_asks_again_and_takes_no_key_along(monkeypatch: pytest.MonkeyPatch):
    with FaultServer() as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-first-key")
        judge = load_judge(f"openai:{server.spec}", patience=7.0)
        asked = client(server, attempts=3, max_in_flight=2, longest=900)
        asked.complete(requests(2))
        data = pickle.dumps((asked, judge))
        assert b"first-key" not in data
        monkeypatch.setenv("OPENAI_API_KEY", "sk-second-key")
        again, same = pickle.loads(data)
        assert isinstance(judge, LLMJudge)
        with asked, again:
            assert outcomes(again.complete(requests(4))) == {"right": 4}
        assert [call.headers["authorization"] for call in server.calls] == ["Bearer sk-first-key"] * 2 + [
            "Bearer sk-second-key"
        ] * 4
        assert pickle.dumps(again) == pickle.dumps(asked)
        assert (again.usage.calls, same.identity) == (4, judge.identity)
