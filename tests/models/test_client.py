import copy
import gc
import threading
import time
from collections import Counter

import pytest

from persona_env.models.client import BadReply, ChatClient, ChatReply, ChatRequest, Endpoint
from persona_env.models.faults import Refused, TimedOut, TooLarge, TooLong
from tests.models.asked import client, outcomes, requests
from tests.models.behaviours import (
    BAD_BODIES,
    BOMBS,
    HTTP_FAULTS,
    Behaviour,
    Call,
    Wire,
    by_chance,
    drip,
    drip_headers,
    hang,
    head,
    status,
    well,
)
from tests.models.fault_server import FaultServer


def always(behaviour: Behaviour) -> FaultServer:
    return FaultServer(lambda call: behaviour)


def one_fault_each(behaviour: Behaviour, times: int = 1) -> FaultServer:
    """Misbehaves the first times that it is asked something."""
    seen = Counter[str]()

    def behave(call: Call) -> Behaviour:
        seen[call.prompt] += 1
        return behaviour if seen[call.prompt] <= times else well

    return FaultServer(behave)


def test_replies_come_in_the_order_of_the_requests_however_long_each_takes():
    with FaultServer(latency=lambda call: 0.02 * (7 - call.number % 8)) as server, client(server) as asked:
        assert outcomes(asked.complete(requests(40))) == {"right": 40}
        assert asked.complete([]) == []


def test_many_are_in_flight_and_never_more_than_allowed():
    with FaultServer(latency=0.02) as server, client(server, max_in_flight=16) as asked:
        threads = [threading.Thread(target=asked.complete, args=(requests(60),)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert server.most_in_flight == 16
        assert len(server.calls) == asked.usage.calls == 180
        assert server.connections <= 17


@pytest.mark.parametrize("name", HTTP_FAULTS)
def test_each_fault_of_the_wire_is_asked_again(name: str):
    with one_fault_each(HTTP_FAULTS[name]) as server, client(server) as asked:
        assert outcomes(asked.complete(requests(3))) == {"right": 3}
        assert asked.usage.calls == len(server.calls) == 6
        assert asked.usage.retries == 3


def test_each_bad_body_is_asked_again():
    seen, ways = Counter[str](), list(BAD_BODIES.values())

    def behave(call: Call) -> Behaviour:
        seen[call.prompt] += 1
        return ways[int(call.prompt.split()[-1])] if seen[call.prompt] == 1 else well

    with FaultServer(behave) as server, client(server) as asked:
        assert outcomes(asked.complete(requests(len(ways)))) == {"right": len(ways)}
        assert len(server.calls) == 2 * len(ways)


def test_a_bad_body_is_a_bad_reply_and_not_repeated():
    ways = list(BAD_BODIES.values())
    with FaultServer(lambda call: ways[int(call.prompt.split()[-1])]) as server, client(server, attempts=1) as asked:
        for name, fault in zip(BAD_BODIES, asked.complete(requests(len(ways))), strict=True):
            assert isinstance(fault, BadReply), name
            assert len(str(fault)) < 80


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_too_large_or_no_reply(name: str):
    with always(BOMBS[name]) as server, client(server, attempts=1) as asked:
        assert isinstance(asked.complete(requests(1))[0], (TooLarge, BadReply))


def test_through_three_faults_in_ten_nothing_is_lost_and_nothing_wrong():
    with FaultServer(by_chance(0.3, HTTP_FAULTS | BAD_BODIES)) as server, client(server) as asked:
        assert outcomes(asked.complete(requests(120))) == {"right": 120}
        assert len(server.calls) <= 1.1 * 120 / 0.7


@pytest.mark.parametrize("code", [301, 302, 307, 400, 401, 403, 404, 413, 422])
def test_what_is_refused_is_not_asked_again_and_redirects_are_not_followed(code: int):
    with FaultServer() as other, always(status(code, location=other.base_url)) as server, client(server) as asked:
        (fault,) = asked.complete(requests(1))
        assert isinstance(fault, Refused)
        assert fault.status == code
        assert (len(server.calls), len(other.calls)) == (1, 0)


def test_attempts_come_to_an_end():
    with always(status(500)) as server, client(server, attempts=3) as asked:
        (fault,) = asked.complete(requests(1))
        assert "status 500" in str(fault)
        assert len(server.calls) == 3


@pytest.mark.parametrize("behaviour", [hang, drip, drip_headers])
def test_a_deadline_is_for_the_whole_reply(behaviour: Behaviour):
    with always(behaviour) as server, client(server, deadline=0.5, attempts=1) as asked:
        begin = time.monotonic()
        faults = asked.complete(requests(5))
        assert time.monotonic() - begin < 0.5 * 1.2 + 0.1
        assert {type(fault) for fault in faults} == {TimedOut}


def test_retry_after_is_honoured():
    with one_fault_each(status(429, retry_after="1")) as server, client(server) as asked:
        asked.complete(requests(1))
        first, second = (call.at for call in server.calls)
        assert 1.0 <= second - first < 1.5


def test_what_is_too_long_is_not_sent():
    with FaultServer() as server, client(server, longest=30) as asked:
        long, short = ChatRequest((("user", "x" * 31),), 8), ChatRequest((("user", "x" * 30),), 8)
        faults = asked.complete([long, short])
        assert isinstance(faults[0], TooLong)
        assert isinstance(faults[1], ChatReply)
        assert len(server.calls) == 1


def test_a_reply_that_is_not_accepted_is_asked_again_but_not_the_same_for_ever():
    number = iter(range(100))

    def accept(reply: ChatReply) -> None:
        if not reply.text.endswith("good"):
            raise BadReply("the reply does not end well")

    with FaultServer(answer=lambda prompt: "good" if next(number) == 2 else f"bad {number}") as server:
        with client(server) as asked:
            assert asked.complete(requests(1), accept)[0].text == "good"  # type: ignore[union-attr]
            assert asked.usage.prompt_tokens == 300  # those of what was not accepted, too
            (fault,) = asked.complete(requests(1), accept)
        assert str(fault) == "the reply does not end well"
        assert len(server.calls) == 3 + 4


def test_an_error_in_accept_is_raised():
    with FaultServer() as server, client(server) as asked, pytest.raises(ZeroDivisionError):
        asked.complete(requests(4), lambda reply: 1 // 0)  # type: ignore[arg-type,return-value]


def test_a_text_that_cannot_be_sent_is_an_error_of_the_caller():
    with FaultServer() as server, client(server) as asked, pytest.raises(ValueError, match="surrogate"):
        asked.complete([ChatRequest((("user", "\ud800"),), 8)])


def test_a_connection_on_which_more_came_than_was_asked_for_is_not_used_again():
    async def twice(wire: Wire) -> None:
        await wire.write(2 * (head(200, len(wire.body)) + wire.body))

    with always(twice) as server, client(server, max_in_flight=1) as asked:
        assert outcomes(asked.complete(requests(20))) == {"right": 20}
        assert server.connections == 20


def test_a_client_is_shared_when_its_owner_is_copied():
    with FaultServer() as server, client(server) as asked:
        assert copy.deepcopy([asked])[0] is asked


def test_a_closed_client_says_so():
    with FaultServer() as server:
        asked = client(server)
        asked.close()
        asked.close()
        with pytest.raises(ValueError, match="closed one"):
            asked.complete(requests(1))


def test_closing_ends_what_waits():
    with always(hang) as server:
        asked = client(server, deadline=30)
        threading.Timer(0.3, asked.close).start()
        begin = time.monotonic()
        with pytest.raises(ValueError, match="closed meanwhile"):
            asked.complete(requests(3))
        assert time.monotonic() - begin < 5


def test_no_thread_stays_behind_closed_or_forgotten():
    before = set(threading.enumerate())
    with FaultServer() as server:
        with client(server) as asked:
            asked.complete(requests(3))
        forgotten = client(server)
        forgotten.complete(requests(3))
        del forgotten
        gc.collect()
    assert set(threading.enumerate()) <= before


def test_cancelling_stops_what_is_in_flight():
    with always(hang) as server, client(server, deadline=30) as asked:
        future = asked.submit(requests(5))
        while server.in_flight < 5:
            time.sleep(0.01)
        future.cancel()
        while server.in_flight:  # the server notices that they hung up
            time.sleep(0.01)


def test_an_interrupt_of_the_caller_stops_what_is_in_flight(monkeypatch: pytest.MonkeyPatch):
    with always(hang) as server, client(server, deadline=30) as asked:
        submit = asked.submit

        def interrupted(*args: object) -> object:
            future = submit(*args)  # type: ignore[arg-type]

            def wait() -> object:
                while server.in_flight < 5:
                    time.sleep(0.01)
                raise KeyboardInterrupt

            monkeypatch.setattr(future, "result", wait)
            return future

        monkeypatch.setattr(asked, "submit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            asked.complete(requests(5))
        while server.in_flight:
            time.sleep(0.01)


@pytest.mark.parametrize(
    "wrong",
    [
        {"deadline": 0.0},
        {"deadline": float("inf")},
        {"attempts": 0},
        {"max_in_flight": 0},
        {"patience": -1.0},
        {"longest": 0},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]):
    with pytest.raises(ValueError, match="Expected"):
        ChatClient(Endpoint("m", "http://127.0.0.1:1/v1"), **wrong)  # type: ignore[arg-type]
