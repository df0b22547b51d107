"""A server that goes down, comes back, or stays away."""

import socket
import threading
import time

import pytest

from persona_env.errors import RunEnded
from persona_env.models.client import ChatClient, ChatReply, Endpoint
from persona_env.models.faults import Quarantined, RemoteFault, Unavailable
from tests.models.asked import client, outcomes, requests
from tests.models.behaviours import Behaviour, Call, Wire, status, well
from tests.models.fault_server import FaultServer


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def test_it_waits_for_a_server_that_comes_later_and_says_how_long():
    told, server = list[float](), FaultServer(port=free_port())
    with client(server, on_wait=told.append) as asked:
        future = asked.submit(requests(100))
        time.sleep(2.2)
        assert not future.done()
        assert asked.usage.calls <= 4 + 8  # what was started before it was known, then one a second
        with server:
            begin = time.monotonic()
            assert outcomes(future.result(10)) == {"right": 100}
            assert time.monotonic() - begin < 3
    assert [round(seconds) for seconds in told[:2]] == [1, 2]
    assert len(told) <= 4


def test_a_server_that_stays_away_ends_the_run_in_order():
    with ChatClient(Endpoint("m", f"http://127.0.0.1:{free_port()}/v1"), patience=0.8) as asked:
        for _ in range(2):  # a second call gives it another chance
            begin = time.monotonic()
            with pytest.raises(Unavailable, match="start it, then resume") as caught:
                asked.complete(requests(20))
            assert 0.8 < time.monotonic() - begin < 3
            assert isinstance(caught.value, RunEnded)
            assert caught.value.exit_code == 75
            assert "\n" not in str(caught.value)


def test_what_was_replied_before_the_end_is_not_lost():
    down = threading.Event()

    def behave(call: Call) -> Behaviour:
        if call.number == 30:
            down.set()
        return status(503) if down.is_set() else well

    with FaultServer(behave) as server, client(server, patience=1.0) as asked:
        with pytest.raises(Unavailable) as caught:
            asked.complete(requests(100))
        assert len(caught.value.replies) == 30
        for place, reply in caught.value.replies.items():
            assert outcomes([reply] if place == 0 else [*[RemoteFault()] * place, reply])["right"] == 1


@pytest.mark.parametrize("code", [pytest.param(500, marks=pytest.mark.slow), 503])
def test_a_server_that_fails_everything_for_a_while_costs_nobody_an_attempt_too_many(code: int):
    well_from = time.monotonic() + 1.5
    with FaultServer(lambda call: well if time.monotonic() > well_from else status(code)) as server:
        with client(server, attempts=4) as asked:
            assert outcomes(asked.complete(requests(100))) == {"right": 100}
        assert len(server.calls) < 100 + 40


@pytest.mark.parametrize(("wait", "patience"), [({}, 1.0), ({"retry_after": "86400"}, 600.0)])
def test_a_server_that_asks_for_patience_for_ever_ends_the_run_in_order(wait: dict[str, str], patience: float):
    with (
        FaultServer(lambda call: status(429, **wait)) as server,
        client(server, patience=patience) as asked,
        pytest.raises(Unavailable, match="more patience"),
    ):
        asked.complete(requests(3))


def test_an_item_that_takes_the_server_down_is_put_aside_and_the_others_are_not():
    """The poisoned item ends the server, which is started again each time."""
    port, deaths = free_port(), []
    poisoned = "line 17"

    async def die(wire: Wire) -> None:
        dead.set()
        wire.reset()

    def behave(call: Call) -> Behaviour:
        return die if call.prompt == poisoned or dead.is_set() else well

    with ChatClient(Endpoint("m", f"http://127.0.0.1:{port}/v1"), deadline=5) as asked:
        dead, future = threading.Event(), None
        while future is None or not future.done():
            dead.clear()
            with FaultServer(behave, port=port, latency=0.01):
                future = future or asked.submit(requests(40))
                while not dead.is_set() and not future.done():
                    time.sleep(0.005)
            deaths.append(dead.is_set())
            time.sleep(0.6)
        replies = future.result()
    assert isinstance(replies[17], Quarantined)
    assert sum(isinstance(reply, ChatReply) for reply in replies) == 39
    assert sum(deaths) <= 4
