"""The judge of a run: cached replies, a budget, and canaries around the judge that a spec names."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from persona_env.envs.persona_source import resolve_personas
from persona_env.errors import JudgeUnreliable
from persona_env.judges import load_judge
from persona_env.judges.base import Judge, JudgeLike, Query, Verdict
from persona_env.judges.canaries import Canaries
from persona_env.judges.canary_items import known_answers
from persona_env.judges.ensemble import Ensemble
from persona_env.models.limits import ModelResources, Usage, UsageLimit
from persona_env.models.reply_cache import ReplyCache
from persona_env.persona import Persona
from persona_env.runs.config import RunConfig, parse_budget

__all__ = ["REPLIES", "RunJudge"]

REPLIES = "replies.sqlite"
"""The run's own cache: a resumed run finds here what was replied before. A request without a reply is sent again."""


class RunJudge(Judge):
    """The judge of a training run or a benchmark.

    Queries with known answers (canaries) are mixed in, which end the run if the judge fails them. They are left out
    for exact judges and where none can be made from the facts of `personas`.

    `cache` is a file of replies that runs share; `budget` the most `calls` and `tokens`, what is missing there is not
    limited; `outage_timeout` the seconds that a server may be away before the run ends in order. `on_wait`, set before
    `open`, is called about once a second with the seconds waited for a server so far.
    """

    def __init__(
        self,
        judge: str | JudgeLike,
        *,
        personas: Sequence[Persona] = (),
        cache: str | Path | None = None,
        budget: Mapping[str, int] | None = None,
        outage_timeout: float | None = None,
    ):
        self._judge = load_judge(judge)
        self.parts = (self._judge,)
        self._cache, self._budget, self._outage_timeout = cache, dict(budget or {}), outage_timeout
        self.is_exact, self.is_remote = self._judge.is_exact, self._judge.is_remote
        self.on_wait: Callable[[float], None] | None = None
        known = [] if self.is_exact else known_answers(personas)
        if personas and not known and not self.is_exact:
            warnings.warn("The personas state no facts with wrong answers: no canaries check the judge.", stacklevel=2)
        self._canaries = Canaries(self._judge, known) if known else None
        self._caches: tuple[ReplyCache, ...] = ()
        self._on_asked: Callable[[], object] = lambda: None

    @classmethod
    def from_config(cls, config: RunConfig) -> RunJudge:
        """Returns the judge of a run."""
        judge = load_judge(config.judge, prompts=config.judge_prompts or None)
        return cls(
            judge,
            personas=() if judge.is_exact else resolve_personas(config.role, config.personas, "train"),
            cache=config.judge_cache or None,
            budget=parse_budget(config.judge_budget),
            outage_timeout=config.judge_outage_timeout,
        )

    def open(
        self,
        folder: Path | None = None,
        spent: Usage | None = None,
        on_asked: Callable[[], object] = lambda: None,
    ) -> None:
        """Opens the caches, one of them in the run's folder, and sets the limits.

        Earlier processes of the run have `spent` some of its budget; if it is used up, or a cache cannot be used, that
        is an `InputError`. `on_asked` is called after each batch of queries, to store `counts` in case of a kill.
        """
        self._on_asked = on_asked
        limit = UsageLimit(**self._budget, spent=spent)
        if not self.is_exact:
            files = [ReplyCache(folder / REPLIES, keep_rejected=True)] if folder else []
            self._caches = (*files, *([ReplyCache(self._cache)] if self._cache else []))
        self._judge.use(ModelResources(self._caches, limit, self._outage_timeout, self.on_wait))

    @property
    def identity(self) -> Mapping[str, Any]:
        """The judge's own: what a run adds changes no verdict."""
        return self._judge.identity

    @property
    def counts(self) -> dict[str, int]:
        """`COSTS` and `VERDICT_COUNTS` in this process; nothing for an exact judge."""
        if self.is_exact:
            return {}
        usage, canaries, judge = self.usage, self._canaries, self._judge
        return {
            "calls": usage.calls,
            "tokens": usage.tokens,
            "cache_hits": usage.cached,
            "damaged": sum(cache.damaged for cache in self._caches),
            "canaries": canaries.asked.total() if canaries else 0,
            "canaries_failed": canaries.failed.total() if canaries else 0,
            "pairs": judge.pairs.total() if isinstance(judge, Ensemble) else 0,
            "agreed": judge.agreed.total() if isinstance(judge, Ensemble) else 0,
        }

    def judge(self, queries: Sequence[Query]) -> list[Verdict]:
        """Returns the verdicts, in order.

        Raises:
            RunEnded: If the server is away for too long, the budget is spent, or the judge fails its canaries.
        """
        try:
            return (self._canaries or self._judge).judge(queries)
        finally:
            self._on_asked()

    def settle(self) -> None:
        """Keeps for good what was replied so far; see `stage`."""
        for cache in self._caches:
            cache.settle()

    @contextlib.contextmanager
    def stage(self) -> Iterator[None]:
        """Inside it a JudgeUnreliable also takes back what was replied since the last `settle`: it is asked again."""
        try:
            yield
        except JudgeUnreliable:
            for cache in self._caches:
                cache.forget()
            raise
        self.settle()

    def close(self) -> None:
        """Closes the judge and the caches; the files are whole at any time."""
        super().close()
        for cache in self._caches:
            cache.close()
