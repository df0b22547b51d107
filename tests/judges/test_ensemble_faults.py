"""A ensemble that cannot go on: what it hands on is its own verdict, and nobody waits for the other members."""

import asyncio
import json
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from persona_env.judges import Judge, LineVsHistory, Query, Verdict
from persona_env.judges.around import Around
from persona_env.judges.ensemble import Ensemble
from persona_env.judges.json_backend import JSONBackend
from persona_env.judges.kept import KeptJudge
from persona_env.judges.llm import LLMJudge
from persona_env.judges.store import VerdictStore
from persona_env.models.chat import Usage
from persona_env.models.client import ChatClient
from persona_env.models.endpoint import Endpoint
from persona_env.models.faults import Unavailable
from tests.models.behaviours import Behaviour, Call, Wire, completion, hang, status
from tests.models.fault_server import FaultServer

ASKED = [LineVsHistory("patient", f"I sleep {i} hours.", (f"I never sleep {i}.",)) for i in range(8)]
DEAD = "http://127.0.0.1:9/v1"


def ctrl_c() -> None:
    """Sends SIGINT to the main thread: only there does it end what is waited for."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


@contextmanager
def members(urls: Mapping[str, str], patience: float = 60.0, in_flight: int = 8) -> Iterator[list[LLMJudge]]:
    """A judge behind a server for each model; the first asks `in_flight` things at once."""
    with ExitStack() as stack:
        yield [
            LLMJudge(JSONBackend(stack.enter_context(ChatClient(
                Endpoint(model, url), patience=patience, max_in_flight=8 if place else in_flight
            ))))
            for place, (model, url) in enumerate(urls.items())
        ]  # fmt: skip


def finds(conflict: bool) -> Behaviour:
    """Lists every line as one in conflict, or none, in both polarities."""

    async def behave(wire: Wire) -> None:
        schema = wire.call.sent["response_format"]["json_schema"]["schema"]
        ((key, value),) = schema["properties"].items()
        named = [*range(1, value["maxItems"] + 1)] if (key == "conflicts") == conflict else []
        await wire.respond(json.dumps(completion(json.dumps({key: named}))).encode())

    return behave


class Told(Around):
    """A judge that tells when it is done."""

    def __init__(self, judge: Judge) -> None:
        super().__init__(judge)
        self.done = threading.Event()

    def judge(self, questions: Sequence[Query]) -> list[Verdict]:
        try:
            return self.wrapped.judge(questions)
        finally:
            self.done.set()


class OutOfStep:
    """A server on which `a` alone finds every line consistent; it is overloaded from its eleventh call to the end.

    Args:
        others: Judges; `a` says that it is overloaded only when they are done.
    """

    def __init__(self, others: Sequence[Told]) -> None:
        self.others, self.down, self.calls = others, True, 0

    def __call__(self, call: Call) -> Behaviour:
        if call.sent["model"] != "a":
            return finds(True)
        self.calls += 1
        return self._overloaded if self.down and self.calls > 10 else finds(False)

    async def _overloaded(self, wire: Wire) -> None:
        while not all(other.done.is_set() for other in self.others):
            await asyncio.sleep(0.01)
        await status(429, retry_after="100")(wire)


def test_where_a_member_gives_up_what_all_have_answered_is_kept_as_the_committees_verdict(tmp_path: Path):
    with (
        FaultServer() as server,
        VerdictStore(tmp_path / "v.db") as store,
        members(dict.fromkeys("abc", server.base_url), patience=2.0, in_flight=1) as judges,
    ):
        others = [Told(judge) for judge in judges[1:]]
        behave = server.behave = OutOfStep(others)
        ensemble = Ensemble([judges[0], *others])
        kept = KeptJudge(ensemble, store)
        with pytest.raises(Unavailable) as found:
            kept.judge(ASKED)
        assert {place: verdict.label for place, verdict in found.value.answered.items()} == dict.fromkeys(  # pyright: ignore[reportAttributeAccessIssue]
            range(5), "inconsistent"
        )
        assert (len(store), kept.misses, ensemble.agreement["LineVsHistory"].pairs) == (5, 5, 15)
        behave.down = False
        resumed = kept.judge(ASKED)
        assert kept.hits == 5
        assert ensemble.agreement["LineVsHistory"].pairs == 24
        assert resumed == ensemble.judge(ASKED), "the same as if nothing had happened"


def test_what_not_every_member_has_answered_is_not_handed_on(tmp_path: Path):
    with (
        FaultServer(lambda call: finds(True) if call.sent["model"] == "b" else hang) as server,
        VerdictStore(tmp_path / "v.db") as store,
        members({"a": server.base_url, "b": server.base_url, "c": DEAD}, patience=1.0) as judges,
    ):
        with pytest.raises(Unavailable) as found:
            KeptJudge(Ensemble(judges), store).judge(ASKED)
        assert (getattr(found.value, "answered", None), len(store)) == ({}, 0)


def test_a_member_that_fails_ends_the_others():
    with FaultServer(lambda call: hang) as server, members({"a": server.base_url, "b": server.base_url}) as judges:

        class Fails:
            usage = Usage()

            def judge(self, questions):
                while server.in_flight < 2:
                    time.sleep(0.01)
                raise RuntimeError("out of memory")

        start = time.monotonic()
        with pytest.raises(RuntimeError, match="out of memory"):
            Ensemble([*judges, Fails()]).judge(ASKED[:1])
        assert time.monotonic() - start < 20, "the members' deadline is 60 s"


@pytest.mark.usefixtures("foreground")
def test_ctrl_c_ends_a_committee_at_once():
    pressed = list[float]()

    def press(waited: float) -> None:
        if not pressed:
            pressed.append(time.monotonic())
            ctrl_c()

    with members(dict.fromkeys("abc", DEAD), patience=40.0) as judges:
        asker = judges[1].asker
        assert isinstance(asker, JSONBackend)
        asker.client.on_wait = press
        with pytest.raises(KeyboardInterrupt):
            Ensemble(judges).judge(ASKED)
        assert time.monotonic() - pressed[0] < 20, "half of what the members would have waited"
