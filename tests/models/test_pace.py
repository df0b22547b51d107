"""A server with a token bucket, and a client that obeys its pace, on a clock that is only counted."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from persona_env.models.pace import Pace


def run(
    takes: Callable[[float], bool], seconds: float, at_most: float = 2000.0, late: float = 0.0
) -> tuple[float, float]:
    """Sends as fast as the pace allows; returns requests taken per second, and the share turned away.

    Whoever waits is woken `late` seconds too late.
    """
    pace, now, taken, refused = Pace(), 0.0, 0, 0
    while now < seconds:
        wait = pace.delay(now)
        now += max(wait + late if wait > 0 else 0.0, 1 / at_most)
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


@pytest.mark.parametrize("capacity", [20.0, 200.0])
def test_timers_that_fire_late_do_not_slow_it_down(capacity: float):
    rate, refused = run(bucket(capacity, 20), 30.0, late=0.01)
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
    assert run(takes, 30.0, late=0.01)[0] > 300


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("share", [0.014, 0.043, 0.071])
def test_refusals_by_chance_do_not_hold_it_down(share: float, seed: int):
    rng = random.Random(seed)
    assert run(lambda now: rng.random() >= share, 60.0, at_most=500.0)[0] > 250


def test_a_long_wait_holds_everything():
    pace = Pace()
    pace.hold(30.0)
    assert pace.delay(10.0) == 20.0
