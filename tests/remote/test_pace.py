"""A server with a token bucket, and a client that obeys its pace, on a clock that is only counted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from persona_env.remote.pace import Pace


def run(takes: Callable[[float], bool], seconds: float, at_most: float = 2000.0) -> tuple[float, float]:
    """Sends as fast as the pace allows; returns requests taken per second, and the share turned away."""
    pace, now, taken, refused = Pace(), 0.0, 0, 0
    while now < seconds:
        now += max(pace.delay(now), 1 / at_most)
        pace.sent(now)
        if takes(now):
            taken += 1
            pace.answered(now, now)
        else:
            refused += 1
            pace.refused(now, now)
    return taken / seconds, refused / (taken + refused)


def bucket(rate: float, burst: float) -> Callable[[float], bool]:
    tokens, last = burst, 0.0

    def takes(now: float) -> bool:
        nonlocal tokens, last
        tokens, last = min(burst, tokens + (now - last) * rate), now
        if tokens < 1:
            return False
        tokens -= 1
        return True

    return takes


def test_a_server_that_refuses_nothing_is_not_waited_for():
    rate, refused = run(lambda now: True, 2.0)
    assert rate == pytest.approx(2000, rel=0.01)
    assert refused == 0


@pytest.mark.parametrize("capacity", [20.0, 200.0])
@pytest.mark.parametrize("burst", [10, 20, 64])
def test_a_limited_server_is_used_to_nine_tenths_with_few_refusals(capacity: float, burst: int):
    rate, refused = run(bucket(capacity, burst), 30.0)
    assert rate >= 0.9 * capacity
    assert refused <= 0.1


def test_a_limit_that_is_lifted_is_noticed():
    first, later = bucket(20.0, 10), bucket(200.0, 10)
    counted = [0, 0]

    def takes(now: float) -> bool:
        ok = first(now) if now < 20 else later(now)
        counted[0] += ok and now < 20
        counted[1] += ok and now >= 60
        return ok

    run(takes, 90.0)
    assert counted[1] / 30 > 0.8 * 200


def test_refusals_that_are_not_about_speed_do_not_stop_everything():
    number = 0

    def takes(now: float) -> bool:
        nonlocal number
        number += 1
        return number % 8 != 0

    assert run(takes, 30.0)[0] > 100


def test_a_long_wait_holds_everything():
    pace = Pace()
    pace.hold(30.0)
    assert pace.delay(10.0) == 20.0
