"""A server that goes down, comes back, stays away, or asks for fewer requests."""

import asyncio
import contextlib
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from persona_env.errors import RunEnded
from persona_env.models.chat_api import ChatClient
from persona_env.models.endpoint import Endpoint
from persona_env.models.faults import AccessDenied, Overloaded, Unavailable
from persona_env.models.flow_control import FlowControl
from persona_env.models.limits import ModelResources
from tests.models.asked import client, free_port, outcomes, requests
from tests.models.behaviours import status, well
from tests.models.fault_server import FaultServer


def test_it_waits_for_a_server_that_comes_later_and_says_how_long():
    told, server = list[float](), FaultServer(port=free_port())
    with client(server) as asked, ThreadPoolExecutor() as pool:
        asked.use(ModelResources(on_wait=told.append))
        future = pool.submit(asked.complete, requests(100))
        while len(told) < 2:
            time.sleep(0.05)
        assert not future.done()
        assert asked.usage.calls <= 5  # one at first, then one a second
        with server:
            assert outcomes(future.result(10)) == {"right": 100}
    assert told == sorted(told)


def test_a_server_that_stays_away_ends_the_run_in_order():
    with ChatClient(Endpoint("m", f"http://127.0.0.1:{free_port()}/v1"), outage_timeout=0.8) as asked:
        for _ in range(2):  # a second call gives it another chance
            with pytest.raises(Unavailable, match="start it, then resume") as caught:
                asked.complete(requests(20))
            assert (isinstance(caught.value, RunEnded), caught.value.exit_code) == (True, 75)
            assert "\n" not in str(caught.value)


def test_an_address_that_nobody_has_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    def unknown(*_: object, **__: object) -> None:  # tests ask no name server
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with ChatClient(Endpoint("m", "http://nobody.invalid/v1"), outage_timeout=600.0) as asking:
        with pytest.raises(AccessDenied, match="no such host"):
            asking.complete(requests(3))
        assert asking.usage.calls == 1


@pytest.mark.parametrize("code", [500, 503])
def test_a_server_that_fails_everything_for_a_while_costs_nobody_too_many_retries(code: int):
    failing = iter(range(20))
    with FaultServer(lambda call: status(code) if next(failing, None) is not None else well) as server:
        with client(server, max_retries=3) as asked:
            assert outcomes(asked.complete(requests(100))) == {"right": 100}
        assert len(server.calls) == 100 + 20


@pytest.mark.parametrize(("wait", "outage_timeout"), [({}, 1.0), ({"retry_after": "86400"}, 600.0)])
def test_a_server_that_asks_to_wait_for_ever_ends_the_run_in_order(wait: dict[str, str], outage_timeout: float):
    with (
        FaultServer(lambda call: status(429, **wait)) as server,
        client(server, outage_timeout=outage_timeout) as asked,
        pytest.raises(Unavailable, match="then resume"),
    ):
        asked.complete(requests(3))


def test_retry_after_is_honoured():
    with FaultServer(lambda call: well if call.number else status(429, retry_after="1")) as server:
        with client(server) as asked:
            assert outcomes(asked.complete(requests(3))) == {"right": 3}
        assert server.calls[1].at - server.calls[0].at >= 1.0


def test_too_many_requests_halve_what_is_in_flight_and_it_grows_again():
    flow = FlowControl("s", max_in_flight=16, max_failures=16, outage_timeout=600)

    async def ask(number: int, *faults: Exception) -> int:
        together = asyncio.Barrier(number)

        async def one() -> None:
            with contextlib.suppress(Overloaded):
                async with flow.slot():
                    await together.wait()
                    for fault in faults:
                        raise fault

        await asyncio.gather(*(one() for _ in range(number)))
        return flow.limit

    async def limits() -> list[int]:
        return [await ask(1), await ask(2, Overloaded("no")), *[await ask(8) for _ in range(20)]]

    found = asyncio.run(limits())
    assert found[:2] == [16, 8]  # of the two that were in flight together only one halves
    assert found[-1] == 16
    assert found == sorted(found[:1]) + sorted(found[1:])
