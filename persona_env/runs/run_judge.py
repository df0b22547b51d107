"""The judge of a run: one for its rewards and its measurements, with its verdicts in a journal of the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from persona_env.envs.persona_source import resolve_personas
from persona_env.errors import InputError
from persona_env.judges import load_judge
from persona_env.judges.around import Around
from persona_env.judges.base import Judge, Query, Verdict
from persona_env.runs.config import RunConfig, parse_budget

__all__ = ["JOURNAL", "RunJudge"]

JOURNAL = "verdicts.sqlite"
"""The run's own verdicts: what stands there is never asked again, also by a run that is resumed.

Verdicts that are `lost` (no reply came) do not stand there, so that a run goes on with them once its judge does."""

_EXACT = ("oracle", "recorded")
_CHUNK = 32
"""Questions from one entry in the journal to the next: two requests each, so a kill costs what is in flight."""


class RunJudge:
    """A judge that a run can be cut off from and go on with.

    An exact judge (`oracle`, `recorded`) is asked as it is. Around any other stand, from the inside out:
    lines with known answers, which end the run if it fails them; the budget; the cache that runs
    share; and, once `open` was called, the run's journal.

    Args:
        settings: The run: its judge, role and personas, and what begins with `judge_`.

    Attributes:
        exact: Whether it is one of the exact judges.

    Raises:
        ValueError: If the judge cannot be had.
    """

    def __init__(self, settings: RunConfig):
        self._settings = settings
        self.exact = settings.judge.partition(":")[0] in _EXACT
        self._base: Judge = load_judge(
            settings.judge, prompts=settings.judge_prompts or None, patience=settings.judge_outage_timeout
        )
        self._asked: Judge = self._base
        self._canaries: Any = None
        self._kept: list[Any] = []

    @property
    def identity(self) -> Mapping[str, Any]:
        """All that can change a verdict."""
        return getattr(self._base, "identity", {"spec": self._settings.judge})

    @property
    def wrapped(self) -> Judge:
        """The judge with all that stands around it."""
        return self._asked

    def judge(self, questions: Sequence[Query]) -> list[Verdict]:
        """Returns the verdicts, in order.

        Raises:
            RunEnded: If the judge is away for too long, its budget is spent, or it is not to be trusted.
        """
        return self._asked.judge(questions)

    def open(
        self, folder: Path, spent: Mapping[str, int] | None = None, on_asked: Callable[[], object] | None = None
    ) -> None:
        """Opens the journal in a run's folder.

        Args:
            folder: The run's.
            spent: What earlier processes of the run have taken from its budget.
            on_asked: Called whenever the judge was asked, before its verdicts are kept: a caller that books `usage`
                there forgets, after a kill, no more than the requests that were in flight (two for each of 32
                questions, and their canaries).

        Raises:
            ValueError: If the budget is spent, or a store of verdicts is damaged.
        """
        if self.exact:
            return
        from persona_env.judges.canaries import Canaries
        from persona_env.judges.kept import KeptJudge
        from persona_env.judges.store import VerdictStore

        s = self._settings
        self._canaries = Canaries(self._base, resolve_personas(s.role, s.personas, "train"))
        asked = self._within_budget(self._canaries, spent or {})
        asked = _Noted(asked, on_asked) if on_asked else asked
        if s.judge_cache:
            asked = KeptJudge(asked, VerdictStore(s.judge_cache))
            self._kept.append(asked)
        self._asked = KeptJudge(asked, VerdictStore(folder / JOURNAL), keep_invalid=True, chunk=_CHUNK)
        self._kept.append(self._asked)

    def _within_budget(self, judge: Judge, spent: Mapping[str, int]) -> Judge:
        from persona_env.judges.budget import BudgetedJudge

        budget = parse_budget(self._settings.judge_budget)
        left = {name: limit - spent.get(name, 0) for name, limit in budget.items()}
        for name, number in left.items():
            if number < 1:
                raise InputError(
                    f"Expected a budget above the {spent.get(name, 0)} {name} that the run has used, got "
                    f"{name}={budget[name]}: give a larger --judge-budget."
                )
        return BudgetedJudge(judge, **left) if left else judge

    def close(self) -> None:
        """Closes the stores; their files are whole at any time, whether this is called or not."""
        for kept in self._kept:
            kept.store.close()

    def usage(self) -> dict[str, int]:
        """Returns the counts of `JudgeCosts` for this process so far; nothing for an exact judge."""
        found = getattr(self._base, "usage", None)
        if self.exact or found is None:
            return {}
        canaries = [*self._canaries.counts.values()] if self._canaries else []
        agreement = [*getattr(self._base, "agreement", {}).values()]
        return {
            "calls": found.calls,
            "tokens": found.prompt_tokens + found.completion_tokens,
            "cache_hits": sum(kept.hits for kept in self._kept),
            "canaries": sum(count.asked for count in canaries),
            "canaries_failed": sum(count.failed for count in canaries),
            "pairs": sum(kind.pairs for kind in agreement),
            "agreed": sum(kind.agreed for kind in agreement),
            "damaged": sum(kept.store.damaged for kept in self._kept),
        }

    def watch(self, on_wait: Callable[[float], None]) -> None:
        """Has a judge behind a server call this with the seconds of each wait for it."""
        for asker in _askers(self._base):
            asker.client.on_wait = on_wait


class _Noted(Around):
    """Says when a judge was asked, also where it gave up."""

    def __init__(self, judge: Judge, on_asked: Callable[[], object]):
        super().__init__(judge)
        self._on_asked = on_asked

    def judge(self, questions: Sequence[Query]) -> list[Verdict]:
        """Returns the verdicts, in order."""
        try:
            return self.wrapped.judge(questions)
        finally:
            self._on_asked()


def _askers(judge: Any) -> Iterator[Any]:
    """Yields what asks a server for a judge, or for each judge of a ensemble."""
    for one in getattr(judge, "members", (judge,)):
        asker = getattr(one, "asker", None)
        if hasattr(asker, "client"):
            yield asker
