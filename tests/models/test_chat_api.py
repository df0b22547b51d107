import copy
import gc
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from persona_env.models.chat import ChatReply, ChatRequest
from persona_env.models.chat_api import ChatClient
from persona_env.models.endpoint import Endpoint
from persona_env.models.faults import BadReply, Filtered, NoText, Refused, TooLong, WrongForm
from persona_env.models.limits import ModelResources
from persona_env.models.reply_cache import ReplyCache
from tests.models.asked import client, outcomes, requests
from tests.models.behaviours import (
    BAD_BODIES,
    BOMBS,
    HTTP_FAULTS,
    SLOW,
    WITHHELD,
    WITHOUT_TEXT,
    Behaviour,
    Call,
    hang,
    one_at_a_time,
    said_as,
    status,
    well,
)
from tests.models.fault_server import FaultServer


def always(behaviour: Behaviour) -> FaultServer:
    return FaultServer(lambda call: behaviour)


def one_fault_each(behaviour: Callable[[Call], Behaviour]) -> FaultServer:
    """Misbehaves the first time that it is asked something."""
    seen = set[str]()

    def behave(call: Call) -> Behaviour:
        return well if call.prompt in seen else seen.add(call.prompt) or behaviour(call)

    return FaultServer(behave)


def bad_body(call: Call) -> Behaviour:
    return list(BAD_BODIES.values())[int(call.prompt.split()[-1])]


def test_replies_come_in_the_order_of_the_requests_however_long_each_takes():
    with FaultServer(latency=lambda call: 0.02 * (7 - call.number % 8)) as server, client(server) as asked:
        assert outcomes(asked.complete(requests(40))) == {"right": 40}
        assert asked.complete([]) == []


def test_many_are_in_flight_and_never_more_than_allowed():
    with FaultServer(latency=0.02) as server, client(server, max_in_flight=16) as asked, ThreadPoolExecutor() as pool:
        list(pool.map(asked.complete, [requests(60)] * 3))
        assert server.most_in_flight == 16
        assert len(server.calls) == asked.usage.calls == 180
        assert server.connections <= 17


def test_nothing_waits_for_the_slowest_of_a_batch():
    server = FaultServer(lambda call: hang if call.prompt == "line 3" else well)
    with server, client(server, max_in_flight=4, max_retries=0, request_timeout=1.0) as asked:
        assert outcomes(asked.complete(requests(60))) == {"right": 59, "TimedOut": 1}
        slow = next(call for call in server.calls if call.prompt == "line 3")
        assert all(call.at < slow.at + 1.0 for call in server.calls)


@pytest.mark.parametrize("fault", HTTP_FAULTS.values(), ids=HTTP_FAULTS)
def test_each_fault_of_the_wire_is_asked_again(fault: Behaviour):
    with one_fault_each(lambda call: fault) as server, client(server) as asked:
        assert outcomes(asked.complete(requests(3))) == {"right": 3}
        assert asked.usage.calls == len(server.calls) == 6
        assert asked.usage.retries == 3


def test_each_bad_body_is_a_bad_reply_that_is_not_repeated_in_it_and_asked_again():
    number = len(BAD_BODIES)
    with one_fault_each(bad_body) as server, client(server) as asked:
        assert outcomes(asked.complete(requests(number))) == {"right": number}
        assert len(server.calls) == 2 * number
    with FaultServer(bad_body) as server, client(server, max_retries=0) as asked:
        for name, fault in zip(BAD_BODIES, asked.complete(requests(len(BAD_BODIES))), strict=True):
            assert isinstance(fault, BadReply), name
            assert len(str(fault)) < 80


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_no_reply(name: str):
    with always(BOMBS[name]) as server, client(server, max_retries=0) as asked:
        assert isinstance(asked.complete(requests(1))[0], BadReply)


@pytest.mark.parametrize("code", [301, 307, 400, 404, 413, 422, 500])
def test_retries_come_to_an_end_soon_for_what_is_refused_and_redirects_are_not_followed(code: int):
    with FaultServer() as other, always(status(code, location=other.base_url)) as server:
        with client(server, max_retries=2) as asked:
            (fault,) = asked.complete(requests(1))
        calls = 3 if code == 500 else 2
        assert f"status {code}" in str(fault)
        assert isinstance(fault, Refused) == (code != 500)
        assert (len(server.calls), asked.usage.calls, asked.usage.retries) == (calls, calls, calls - 1)
        assert not other.calls


@pytest.mark.parametrize("behaviour", SLOW.values(), ids=SLOW)
def test_a_timeout_is_for_the_whole_reply(behaviour: Behaviour):
    with always(behaviour) as server, client(server, request_timeout=0.5, max_retries=0) as asked:
        assert outcomes(asked.complete(requests(3))) == {"TimedOut": 3}


def test_what_waits_its_turn_at_a_slow_server_is_not_given_up_while_that_answers():
    with always(one_at_a_time(0.1)) as server, client(server, request_timeout=1.5, max_retries=0) as asked:
        assert outcomes(asked.complete(requests(24))) == {"right": 24}
        assert server.most_in_flight > 20


def test_what_is_too_long_is_not_sent():
    with FaultServer() as server, client(server, max_prompt_chars=30) as asked:
        found = asked.complete([ChatRequest((("user", "x" * length),), 8) for length in (31, 30)])
        assert [type(one) for one in found] == [TooLong, ChatReply]
        assert len(server.calls) == 1


def test_a_reply_that_is_not_accepted_is_asked_again_but_what_is_of_wrong_form_only_twice():
    number = iter(range(100))

    def accept(reply: ChatReply) -> None:
        if reply.text != "good":
            raise (WrongForm if "form" in reply.text else BadReply)("the reply is not good")

    def answer(prompt: str) -> str:
        place = next(number)
        return "good" if place == 2 else "bad" if place < 5 else f"bad form {place}"

    request = replace(requests(1)[0], accept=accept)
    with FaultServer(answer=answer) as server, client(server) as asked:
        assert asked.complete([request])[0].text == "good"  # type: ignore[union-attr]
        assert asked.usage.prompt_tokens == 300  # those of what was not accepted, too
        (fault,) = asked.complete([request])
        assert str(fault) == "the reply is not good"
        assert len(server.calls) == 3 + 4  # twice bad, and twice of wrong form


def test_no_connection_is_used_again_once_one_has_brought_what_was_not_asked_for():
    def accept(reply: ChatReply) -> None:
        if len(server.calls) == 3:
            raise BadReply("the reply of another")

    with FaultServer() as server, client(server) as asked:
        for _ in range(4):
            asked.complete([replace(request, accept=accept) for request in requests(1)])
        assert (len(server.calls), server.connections) == (5, 1 + 2)


@pytest.mark.parametrize("behaviour", [*WITHHELD.values(), *WITHOUT_TEXT.values()], ids=[*WITHHELD, *WITHOUT_TEXT])
def test_what_will_not_change_is_asked_twice_and_known_to_a_resumed_run(behaviour: Behaviour, tmp_path: Path):
    kind = Filtered if behaviour in WITHHELD.values() else NoText
    with always(behaviour) as server, ReplyCache(tmp_path / "r.sqlite", keep_rejected=True) as cache:
        for _ in range(2):
            with client(server) as asked:
                asked.use(ModelResources((cache,)))
                assert [type(fault) for fault in asked.complete(requests(3))] == [kind] * 3
        assert len(server.calls) == 2 * 3


@pytest.mark.parametrize("shape", said_as("I sleep."))
def test_what_is_said_is_read_in_every_shape_in_which_servers_send_it(shape: str):
    with always(said_as("I sleep.")[shape]) as server, client(server, max_retries=0) as asked:
        (reply,) = asked.complete(requests(1))
        assert isinstance(reply, ChatReply), reply
        assert (reply.text.strip(), reply.finish_reason) == ("I sleep.", "length" if "length" in shape else "stop")


def test_an_error_of_the_caller_is_raised():
    wrong = replace(requests(1)[0], accept=lambda reply: print(1 // 0))
    with FaultServer() as server, client(server) as asked:
        with pytest.raises(ZeroDivisionError):
            asked.complete([wrong] * 4)
        with pytest.raises(ValueError, match="surrogate"):
            asked.complete([ChatRequest((("user", "\ud800"),), 8)])


def test_equal_requests_without_a_cache_are_each_asked_and_a_client_is_shared_when_its_owner_is_copied():
    with FaultServer() as server, client(server) as asked:
        assert copy.deepcopy([asked])[0] is asked
        request = requests(1)[0]
        asked.complete([request, request])
        assert len(server.calls) == 2


def test_a_closed_client_says_so():
    with FaultServer() as server:
        asked = client(server)
        asked.complete(requests(1))
        asked.close()
        asked.close()
        with pytest.raises(ValueError, match="closed one"):
            asked.complete(requests(1))


def wait_for(server: FaultServer, *, busy: bool) -> None:
    while bool(server.in_flight) != busy:
        time.sleep(0.01)


@pytest.mark.parametrize("end", [ChatClient.close, ChatClient.cancel])
def test_closing_and_cancelling_end_what_waits(end: Callable[[ChatClient], None]):
    with always(hang) as server, client(server, request_timeout=30) as asked, ThreadPoolExecutor() as pool:
        future = pool.submit(asked.complete, requests(3))
        wait_for(server, busy=True)
        end(asked)
        with pytest.raises(ValueError, match="closed or cancelled"):
            future.result(10)
        wait_for(server, busy=False)  # it notices that they hung up


def test_an_interrupt_of_the_caller_stops_what_is_in_flight(monkeypatch: pytest.MonkeyPatch):
    with always(hang) as server, client(server, request_timeout=30) as asked:

        def interrupted(*_: object, **__: object) -> None:
            wait_for(server, busy=True)
            raise KeyboardInterrupt

        monkeypatch.setattr("persona_env.models.chat_api.concurrent.futures.wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            asked.complete(requests(5))
        monkeypatch.undo()
        wait_for(server, busy=False)


def test_a_forgotten_client_closes_its_connections():
    with FaultServer() as server:
        forgotten = client(server)
        forgotten.complete(requests(3))
        del forgotten
        gc.collect()  # a session that is left open would warn, which is an error here


def test_without_the_extra_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, "persona_env.models.transport", raising=False)
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(ValueError, match=r'^Expected the extra openai, .*pip install "persona-env\[openai\]"\.$'):
        ChatClient(Endpoint("m", "http://127.0.0.1:1/v1"))


@pytest.mark.parametrize(
    "wrong",
    [
        *[{"request_timeout": 0.0}, {"request_timeout": float("inf")}, {"max_retries": -1}],
        *[{"max_in_flight": 0}, {"outage_timeout": -1.0}, {"max_prompt_chars": 0}],
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]):
    with pytest.raises(ValueError, match="Expected"):
        ChatClient(Endpoint("m", "http://127.0.0.1:1/v1"), **wrong)  # type: ignore[arg-type]
