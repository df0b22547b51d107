"""What the judge of a run has cost: counts that add up over the processes of a resumed run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from persona_env.runs.config import parse_budget

__all__ = ["JudgeCosts"]


@dataclass(frozen=True, slots=True)
class JudgeCosts:
    """Counts of a run's judge, over all processes that worked on the run.

    Attributes:
        calls: Requests or passes of the model, canaries included.
        tokens: Tokens of prompts and replies.
        cache_hits: Replies that were read from a cache.
        canaries: Queries with known answers that were mixed in.
        canaries_failed: Those that got a wrong verdict.
        pairs: For an ensemble: queries times pairs of members.
        agreed: Those in which both members gave the same verdict.
        damaged: Damaged replies in a cache, which were asked for again.

    >>> JudgeCosts(calls=70, tokens=9000, canaries=4, canaries_failed=1).sentence("calls=100", invalid=2)
    'Judge: 70 of 100 calls, 9,000 tokens; 0 replies from the cache, 2 invalid verdicts; 1 of 4 canaries failed.'
    """

    calls: int = 0
    tokens: int = 0
    cache_hits: int = 0
    canaries: int = 0
    canaries_failed: int = 0
    pairs: int = 0
    agreed: int = 0
    damaged: int = 0

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Returns the names of the counts."""
        return tuple(field.name for field in fields(cls))

    @classmethod
    def of(cls, counts: Mapping[str, Any]) -> JudgeCosts:
        """Returns the costs that `as_json` gave; a count that is missing is 0."""
        return cls(**{name: int(counts.get(name) or 0) for name in cls.names()})

    @property
    def agreement(self) -> float | None:
        """The share of pairs of an ensemble's members that agreed, in [0, 1]; None without an ensemble."""
        return self.agreed / self.pairs if self.pairs else None

    def as_json(self, budget: str = "") -> dict[str, Any]:
        """Returns all counts, the ensemble's agreement, and the budget (calls or tokens, as far as bounded)."""
        counts = {name: getattr(self, name) for name in self.names()}
        return {**counts, "agreement": self.agreement, "budget": parse_budget(budget)}

    def sentence(self, budget: str = "", invalid: int = 0) -> str:
        """Returns it in words: what was used and allowed, and how many verdicts were invalid."""
        limits = parse_budget(budget)
        used = [_of(getattr(self, name), limits.get(name), name) for name in ("calls", "tokens")]
        parts = [f"Judge: {', '.join(used)}"]
        parts.append(f"{self.cache_hits:,} replies from the cache, {invalid:,} invalid verdicts")
        if self.canaries:
            parts.append(f"{self.canaries_failed:,} of {self.canaries:,} canaries failed")
        if self.agreement is not None:
            parts.append(f"its members agreed in {self.agreement:.0%} of {self.pairs:,} pairs")
        if self.damaged:
            parts.append(f"{self.damaged:,} damaged replies asked for again")
        return "; ".join(parts) + "."


def _of(number: int, limit: int | None, name: str) -> str:
    return f"{number:,} {name}" if limit is None else f"{number:,} of {limit:,} {name}"
