"""A row of the reliability table."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Row"]


@dataclass(frozen=True, slots=True)
class Row:
    """One demand and what was achieved.

    Attributes:
        id: `R1` to `R23`.
        what: What was done, with its numbers.
        demand: What must come out.
        achieved: What came out.
        met: Whether that is enough.
    """

    id: str
    what: str
    demand: str
    achieved: str
    met: bool
