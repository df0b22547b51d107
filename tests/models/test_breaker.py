"""Which item is blamed for an outage: a server and its clock that are only told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from persona_env.models.breaker import ALONE, Breaker
from persona_env.models.faults import BadReply, NoConnection, Quarantined, ServerError, Unavailable, Unreachable


@dataclass(eq=False)
class Item:
    deaths: int = 0
    alone: bool = False


def breaker(patience: float = 60.0, tell: Callable[[float], None] = lambda seconds: None) -> Breaker:
    return Breaker("http://a/v1", patience, tell)


def items(number: int, deaths: int = 0) -> list[Item]:
    return [Item(deaths, deaths >= ALONE) for _ in range(number)]


def breaks(told: Breaker, item: Item, sent: float, now: float) -> bool:
    return told.failed(Unreachable("broke"), item, sent, now)


def is_gone(told: Breaker, item: Item, now: float) -> bool:
    return told.failed(NoConnection("none"), item, now, now)


def test_those_that_broke_before_the_server_was_gone_are_suspected_once():
    told, (first, second, late, other) = breaker(), items(4)
    assert breaks(told, first, 0.0, 1.0)
    assert breaks(told, second, 0.0, 1.0)
    told.sent(1.1)  # `first` once more, to a server that is about to go
    assert not is_gone(told, other, 1.2)
    assert not breaks(told, first, 1.1, 1.3)
    assert not breaks(told, late, 0.5, 1.3)
    assert [item.deaths for item in (first, second, late, other)] == [1, 1, 1, 0]


def test_what_the_server_has_survived_is_not_suspected():
    told, (broken, other) = breaker(), items(2)
    breaks(told, broken, 0.0, 1.0)
    told.succeeded(sent=1.5)
    is_gone(told, other, 2.0)
    assert broken.deaths == 0


def test_a_reply_to_what_was_sent_before_the_break_clears_nobody():
    told, (broken, other) = breaker(), items(2)
    breaks(told, broken, 0.0, 1.0)
    told.succeeded(sent=0.9)
    is_gone(told, other, 2.0)
    assert broken.deaths == 1


def test_outages_with_others_in_flight_are_never_enough_to_blame():
    told, found = breaker(), items(3)
    for now in range(10):
        for item in found:
            breaks(told, item, now, now + 0.1)
        is_gone(told, found[0], now + 0.2)
        told.succeeded(now + 0.3)
    assert [item.deaths for item in found] == [ALONE] * 3
    assert told.delay(found[0], 11.0) == 0


def test_who_goes_down_with_the_server_alone_is_put_aside():
    told, (poison, other) = breaker(), items(2, deaths=ALONE)
    breaks(told, poison, 0.0, 1.0)
    assert told.is_down  # nobody else is sent there before it is known
    assert told.delay(other, 1.0) == pytest.approx(0.1)
    is_gone(told, other, 1.1)
    assert (poison.deaths, other.deaths) == (ALONE + 1, ALONE)
    with pytest.raises(Quarantined, match="went down with this"):
        told.delay(poison, 1.2)


def test_a_break_alone_that_the_server_survives_is_an_attempt_and_no_more():
    told, (item, other) = breaker(), items(2, deaths=ALONE)
    assert breaks(told, item, 0.0, 1.0)
    told.succeeded(sent=1.1)
    is_gone(told, other, 2.0)
    assert item.deaths == ALONE


def test_who_breaks_at_a_server_that_is_going_down_is_not_taken_for_the_cause():
    told, (poison, innocent, other) = breaker(), items(3, deaths=ALONE)
    breaks(told, poison, 0.0, 1.0)
    breaks(told, innocent, 1.1, 1.2)  # it still listened
    is_gone(told, other, 1.3)
    assert [poison.deaths, innocent.deaths] == [ALONE, ALONE]  # both are asked alone once more


def test_a_probe_that_takes_the_server_down_again_is_suspected_and_nobody_else_is_let_through():
    told, (probe, other) = breaker(), items(2)
    is_gone(told, other, 0.0)
    assert not breaks(told, probe, 1.1, 1.2)
    assert told.is_down
    is_gone(told, other, 1.3)
    assert (probe.deaths, other.deaths) == (1, 0)


def test_a_server_that_listens_again_but_breaks_every_connection_is_up():
    told, (first, second) = breaker(), items(2)
    is_gone(told, first, 0.0)
    breaks(told, first, 1.1, 1.2)
    assert breaks(told, second, 1.3, 1.4)
    assert not told.is_down


def test_a_server_error_after_an_outage_means_that_it_listens():
    told, (item,) = breaker(), items(1)
    is_gone(told, item, 0.0)
    assert told.failed(ServerError("failed", 500), item, 1.1, 1.2)
    assert not told.is_down


def test_failures_in_a_row_of_many_items_are_an_outage_but_not_those_of_a_few():
    for number, expected in ((7, False), (8, True)):
        told, found = breaker(), items(number)
        for call in range(20):
            told.failed(ServerError("failed", 500), found[call % number], call, call)
        assert told.is_down is expected


def test_one_probe_goes_out_a_second_until_any_reply_comes():
    told, (item,) = breaker(), items(1)
    is_gone(told, item, 0.0)
    assert told.delay(item, 0.5) == pytest.approx(0.55)
    assert told.delay(item, 1.1) == 0
    told.sent(1.1)
    assert told.delay(item, 1.2) > 0.9
    assert told.failed(BadReply("no JSON"), item, 1.1, 1.3)
    assert told.delay(item, 1.3) == 0


def test_it_says_once_a_second_how_long_it_has_been_down_and_gives_up_when_patience_ends():
    said = list[float]()
    told, (item,) = breaker(patience=3.0, tell=said.append), items(1)
    is_gone(told, item, 0.0)
    for tick in range(31):
        told.delay(item, tick / 10)
    assert said == [1.0, 2.0, 3.0]
    with pytest.raises(Unavailable, match="no reply for 3 s"):
        told.delay(item, 3.4)
