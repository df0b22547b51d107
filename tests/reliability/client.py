"""R1 to R4, R6, R7, R22, R24 and R25: faults of servers, and what the client makes of them."""

from __future__ import annotations

import json
import random
import time
from dataclasses import asdict
from functools import partial
from hashlib import sha256
from pathlib import Path

from persona_env.judges.json_backend import JSONBackend
from persona_env.models.chat import ChatReply, ChatRequest
from persona_env.models.faults import BadReply, TimedOut, TooLong, Unreachable
from tests.judges.backends import by_hash, hashed_verdicts
from tests.models.asked import client, outcomes, requests
from tests.models.behaviours import (
    BAD_BODIES,
    BOMBS,
    HTTP_FAULTS,
    SLOW,
    Behaviour,
    Call,
    by_chance,
    misdirected,
    one_at_a_time,
    status,
    well,
)
from tests.models.fault_server import FaultProcess, FaultServer
from tests.reliability.demands import Measured, demand

_VERDICTS, _BOMBS = 2000, 8


def http_faults(rate: float, wanted: float, allowed: float) -> Measured:
    with FaultProcess("--faults", str(rate)) as server, client(server) as asked:
        counted = outcomes(asked.complete(requests(_VERDICTS)))
        calls = asked.usage.calls / _VERDICTS
    right = counted["right"] / _VERDICTS
    met = counted["wrong"] == 0 and right >= wanted and calls <= allowed
    return met, f"{counted['wrong']} wrong, {right:.2%} right, {calls:.2f} calls each"


for _rate in (0.1, 0.3, 0.5):
    _wanted, _allowed = 1.0 if _rate <= 0.3 else 0.999, 1.1 / (1 - _rate)
    demand(
        "R1",
        f"{_VERDICTS} verdicts, {_rate:.0%} of calls fail in {len(HTTP_FAULTS)} ways",
        f"0 wrong, {_wanted:.1%} right, at most {_allowed:.2f} calls each",
    )(partial(http_faults, _rate, _wanted, _allowed))


@demand(
    "R2",
    f"{_VERDICTS} verdicts, 30 % of replies bad in {len(BAD_BODIES)} ways",
    "at least 20 ways; 0 lost, 0 wrong, 0 untyped errors",
)
def bad_bodies() -> Measured:
    with FaultProcess("--bodies", "0.3") as server, client(server) as asked:
        counted = outcomes(asked.complete(requests(_VERDICTS)))
    ways = list(BAD_BODIES.values())
    with FaultServer(lambda call: ways[int(call.prompt.split()[-1])]) as server, client(server, max_retries=0) as asked:
        untyped = sum(not isinstance(fault, BadReply) for fault in asked.complete(requests(len(ways))))
    lost = _VERDICTS - counted["right"] - counted["wrong"]
    met = len(ways) >= 20 and lost == counted["wrong"] == untyped == 0
    return met, f"{lost} lost, {counted['wrong']} wrong, {untyped} untyped errors"


_MISDIRECTED, _SHARE = 10_000, 0.3


@demand(
    "R24",
    f"{_MISDIRECTED:,} verdicts, {_SHARE:.0%} of replies in one of the ways {', '.join(misdirected())}",
    "0 wrong, at most 0.1 % lost",
)
def misdirected_replies() -> Measured:
    options = ("--misdirected", str(_SHARE), "--answer", "tests.judges.backends:by_hash")
    with FaultProcess(*options) as server, client(server, 60.0) as asked:
        counted = hashed_verdicts(JSONBackend(asked), _MISDIRECTED)
        calls = asked.usage.calls / _MISDIRECTED
    met = counted["wrong"] == 0 and counted["lost"] <= _MISDIRECTED / 1000
    return met, f"{counted['wrong']} wrong, {counted['lost']} lost, {calls:.2f} calls each"


@demand("R3", f"replies that hang or drip ({', '.join(SLOW)}), request_timeout 1 s", "ends within 1.2 x the timeout")
def slow_replies() -> Measured:
    worst, typed = 0.0, True
    for slow in SLOW.values():
        with FaultServer() as server, client(server, 1.0, max_retries=0) as asked:
            asked.complete(requests(1))  # the first request of a client goes alone
            server.behave = lambda call, slow=slow: slow
            for number in (1, 8):
                begin = time.monotonic()
                faults = asked.complete(requests(number))
                worst = max(worst, time.monotonic() - begin)
                typed = typed and all(isinstance(fault, TimedOut) for fault in faults)
    return typed and worst <= 1.2, f"{worst:.2f} x at worst{'' if typed else ', not always as TimedOut'}"


_SLOW, _EACH = 64, 0.1


@demand(
    "R25", f"{_SLOW} verdicts of a server that works on one at a time, {_EACH} s each", "all, with a timeout of 1 s"
)
def slow_server() -> Measured:
    slow = one_at_a_time(_EACH)
    with FaultServer(lambda call: slow, answer=by_hash) as server, client(server, 1.0, max_retries=0) as asked:
        counted = hashed_verdicts(JSONBackend(asked), _SLOW)
        calls = len(server.calls)
    return counted["right"] == calls == _SLOW, f"{counted['right']} right of {calls} calls"


def _megabytes(name: str) -> float:
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(text.split(f"{name}:")[1].split()[0]) / 1024


@demand("R4", f"{_BOMBS} at once of each: {', '.join(BOMBS)}", "at most +8 MB and 1 s")
def bombs() -> Measured:
    memory, seconds, typed = 0.0, 0.0, True
    for name in BOMBS:
        with FaultProcess("--always", name) as server, client(server, max_retries=0) as asked:
            asked.complete(requests(1))  # the thread, the modules and the connection cost something once
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts here
            before, begin = _megabytes("VmRSS"), time.monotonic()
            faults = asked.complete(requests(_BOMBS))
            seconds = max(seconds, time.monotonic() - begin)
            memory = max(memory, _megabytes("VmHWM") - before)
        typed = typed and all(isinstance(fault, BadReply) for fault in faults)
    told = f"+{memory:.1f} MB, {seconds:.2f} s at worst{'' if typed else ', untyped errors'}"
    return typed and memory <= 8 and seconds <= 1, told


_RATE, _BURST, _WORKERS, _ASKED = 20.0, 20.0, 64, 700


class Bucket:
    """Turns away what is above the rate; says so with and without Retry-After, in turns."""

    def __init__(self) -> None:
        self.tokens, self.last, self.refused = _BURST, time.monotonic(), 0

    def __call__(self, call: Call) -> Behaviour:
        now = time.monotonic()
        self.tokens, self.last = min(_BURST, self.tokens + (now - self.last) * _RATE), now
        if self.tokens >= 1:
            self.tokens -= 1
            return well
        self.refused += 1
        return status(429, retry_after="1") if self.refused % 2 else status(429)


@demand(
    "R6",
    f"{_ASKED} verdicts, {_WORKERS} workers, a server of {_RATE:g} requests/s (bursts of {_BURST:g})",
    "at least 75 % of its capacity, at most 15 % of calls turned away",
)
def too_many_requests() -> Measured:
    bucket = Bucket()
    with FaultServer(bucket, latency=0.05) as server, client(server, max_in_flight=_WORKERS) as asked:
        begin = time.monotonic()
        counted = outcomes(asked.complete(requests(_ASKED)))
        seconds = time.monotonic() - begin
    used = counted["right"] / (_BURST + _RATE * seconds)
    share = bucket.refused / len(server.calls)
    told = f"{used:.1%} of its capacity, {share:.1%} turned away, {counted['wrong']} wrong"
    return counted["right"] == _ASKED and used >= 0.75 and share <= 0.15, told


@demand(
    "R7",
    "100 verdicts, one of whose prompts breaks its connection each time, and 10 over-long ones",
    "0 over-long sent; after its attempts the one is a fault, the rest goes on",
)
def poisonous_prompts() -> Measured:
    tries, long = 4, [ChatRequest((("user", "x" * 31),), 8)] * 10
    with FaultServer(lambda call: HTTP_FAULTS["reset"] if call.prompt == "line 17" else well) as server:
        with client(server, max_retries=tries - 1, max_prompt_chars=30) as asked:
            replies = asked.complete([*requests(100), *long])
        sent = sum(len(call.prompt) > 30 for call in server.calls)
        attempts = sum(call.prompt == "line 17" for call in server.calls)
    counted, refused = outcomes(replies[:100]), sum(isinstance(reply, TooLong) for reply in replies[100:])
    is_fault = isinstance(replies[17], Unreachable)
    met = is_fault and counted["right"] == 99 and (sent, refused, attempts) == (0, 10, tries)
    told = f"{sent} over-long sent; a fault after {attempts} attempts, {counted['right']} of the others right"
    return met, told


def canonical(in_flight: int) -> tuple[str, int]:
    """Returns the hash of the replies as canonical JSON, and how many were in flight at most.

    The server takes a random time for each and fails one call in ten.
    """
    ways = {name: way for name, way in (HTTP_FAULTS | BAD_BODIES).items() if "429" not in name}  # they slow it down
    rng, faults = random.Random(in_flight), by_chance(0.1, ways, seed=in_flight)
    with (
        FaultServer(faults, latency=lambda call: rng.uniform(0, 0.01)) as server,
        client(server, max_in_flight=in_flight) as asked,
    ):
        replies = asked.complete(requests(400))
    log = [asdict(reply) if isinstance(reply, ChatReply) else repr(reply) for reply in replies]
    text = json.dumps(log, sort_keys=True, separators=(",", ":"))
    return sha256(text.encode()).hexdigest(), server.most_in_flight


@demand("R22", "400 verdicts through 10 % faults and delays, 1 against 16 in flight", "identical canonical log")
def in_flight() -> Measured:
    (one, alone), (many, together) = canonical(1), canonical(16)
    told = f"{'identical' if one == many else 'different'} ({one[:12]}, {many[:12]}; {together} were in flight)"
    return one == many and alone == 1 and together > 8, told
