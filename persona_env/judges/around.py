"""A judge around another one that changes none of its verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from persona_env.judges.base import Judge

__all__ = ["Around"]


class Around:
    """What all judges share that stand around another: to a store, and to who counts, they are that one.

    Attributes:
        wrapped: The judge inside.
    """

    def __init__(self, judge: Judge):
        self.wrapped = judge

    @property
    def identity(self) -> Mapping[str, Any]:
        """The judge's own; no attribute where it has none."""
        return getattr(self.wrapped, "identity")  # noqa: B009 - not every judge has one

    @property
    def usage(self) -> Any:
        """What the judge has used so far; None if it does not count."""
        return getattr(self.wrapped, "usage", None)
