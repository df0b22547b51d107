"""Who may go when: how many together, in which order, and who alone."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

import pytest

from persona_env.models.breaker import ALONE, Breaker
from persona_env.models.gate import Gate


@dataclass(eq=False)
class Item:
    deaths: int = 0
    alone: bool = False


class Crowd:
    """Sends items through a gate, each for a moment, and notes who was inside together."""

    def __init__(self, most: int = 64):
        self.gate = Gate(most, Breaker("http://a/v1", 60.0, lambda seconds: None))
        self.inside, self.went, self.together = list[Item](), list[Item](), list[list[Item]]()
        self.rng = random.Random(0)

    async def go(self, item: Item) -> None:
        async with self.gate.enter(item):
            self.went.append(item)
            self.inside.append(item)
            self.together.append(list(self.inside))
            await asyncio.sleep(self.rng.uniform(0.0, 0.004))
            self.inside.remove(item)
        self.gate.widen()

    async def all(self, items: list[Item]) -> None:
        async with asyncio.timeout(10):
            await asyncio.gather(*map(self.go, items))


def test_first_come_first_served_and_one_more_with_each_that_succeeds():
    crowd, items = Crowd(most=16), [Item() for _ in range(60)]
    asyncio.run(crowd.all(items))
    assert crowd.went == items
    assert max(len(some) for some in crowd.together[:8]) == 8
    assert max(map(len, crowd.together)) == 16
    assert crowd.gate.is_empty


@pytest.mark.parametrize("place", [0, 5, 29])
def test_who_was_in_two_outages_goes_alone_wherever_it_stands_in_line(place: int):
    crowd, items = Crowd(), [Item() for _ in range(30)]
    items[place].deaths = ALONE
    asyncio.run(crowd.all(items))
    assert [some for some in crowd.together if items[place] in some] == [[items[place]]]
    assert items[place].alone
    assert not any(item.alone for item in items if item is not items[place])
    assert len(crowd.went) == 30


def test_of_those_in_one_outage_only_a_few_go_together():
    crowd = Crowd()
    asyncio.run(crowd.all([Item() for _ in range(100)] + [Item(deaths=i % 2) for i in range(80)]))
    assert max(sum(item.deaths for item in some) for some in crowd.together) == 8
    assert max(map(len, crowd.together)) > 8


def test_who_is_cancelled_in_line_or_inside_leaves_no_place_taken():
    async def main() -> None:
        crowd = Crowd(most=4)
        tasks = [asyncio.create_task(crowd.go(Item(deaths=i % (ALONE + 1)))) for i in range(30)]
        await asyncio.sleep(0.003)
        for task in tasks[1::2]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert crowd.gate.is_empty
        await crowd.all([Item() for _ in range(10)])

    asyncio.run(main())
