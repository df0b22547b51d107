"""What is demanded of judges, logs and runs, and how each demand is measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

__all__ = ["DEMANDS", "Demand", "Measured", "demand", "few"]

Measured = tuple[bool, str]
"""Whether a demand is met, and what was achieved."""


class Demand(NamedTuple):
    """A row of the table: what is done, with its numbers, what must come out, and what measures it."""

    id: str
    what: str
    must: str
    measure: Callable[[], Measured]


DEMANDS: list[Demand] = []


def demand(id: str, what: str, must: str) -> Callable[[Callable[[], Measured]], None]:
    """Makes a function a row of the table."""
    return lambda measure: DEMANDS.append(Demand(id, what, must, measure))


def few(found: list[str]) -> str:
    """Returns how a row tells of faults: the first of them, "" for none."""
    return f": {'; '.join(found)[:300]}" if found else ""
