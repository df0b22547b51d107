"""The judge of a run: cached replies, a budget, and canaries around the judge that `JudgeSettings` name."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from persona_env.calibration.calibration import is_calibrated
from persona_env.errors import JudgeUnreliable
from persona_env.io.atomic import check_target
from persona_env.judges import load_judge
from persona_env.judges.base import Judge, JudgeLike, Query, Verdict
from persona_env.judges.canaries import Canaries
from persona_env.judges.canary_items import known_answers
from persona_env.judges.ensemble import Ensemble
from persona_env.metrics import load_metric
from persona_env.models.limits import ModelResources, Usage, UsageLimit
from persona_env.models.reply_cache import ReplyCache
from persona_env.persona import Persona
from persona_env.runs.config import JudgeSettings, parse_budget
from persona_env.speakers import Speaker

__all__ = ["REPLIES", "RunJudge"]

REPLIES = "replies.sqlite"
"""The run's own cache: a resumed run finds here what was replied before. A request without a reply is sent again."""


class RunJudge(Judge):
    """The judge of a command: of a training run, a benchmark, a calibration or a talk.

    Queries with known answers (canaries) are mixed in, which end the run if the judge fails them. They are left out
    for exact judges, and where none can be made from the facts of `personas`, which is said; `canaries` is then `none`.

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
            warnings.warn("canaries: none, as the personas state no facts with wrong answers", stacklevel=2)
        self._canaries = Canaries(self._judge, known) if known else None
        self.canaries = "not needed" if self.is_exact else "mixed in" if known else "none"
        self._caches: tuple[ReplyCache, ...] = ()
        self._on_asked: Callable[[], object] = lambda: None
        self._lines: tuple[ReplyCache, ...] = ()
        self._batch: tuple[int, int] | None = None

    @classmethod
    def from_settings(cls, settings: JudgeSettings, personas: Sequence[Persona] = ()) -> RunJudge:
        """Returns the judge that settings name, with canaries made from `personas`; InputError if it cannot be used."""
        if settings.judge_cache:
            _check_cache(settings.judge_cache)
        return cls(
            load_judge(settings.judge, prompts=settings.judge_prompts or None),
            personas=personas,
            cache=settings.judge_cache or None,
            budget=parse_budget(settings.judge_budget),
            outage_timeout=settings.judge_outage_timeout,
        )

    def open(
        self,
        folder: Path | None = None,
        spent: Usage | None = None,
        on_asked: Callable[[], object] = lambda: None,
        speakers: Collection[Speaker] = (),
    ) -> None:
        """Opens the caches, one of them in the run's folder, and sets the limits.

        Earlier processes of the run have `spent` some of its budget; if it is used up, or a cache cannot be used, that
        is an `InputError`. `on_asked` is called after each batch of queries, to store `counts` in case of a kill.
        The lines of `speakers` behind a server stand in the run's cache too; the budget is the judge's alone.
        """
        self._on_asked = on_asked
        limit = UsageLimit(**self._budget, spent=spent)
        remote = [speaker for speaker in speakers if speaker.is_remote]
        if not self.is_exact:
            own = [ReplyCache(folder / REPLIES, keep_rejected=True)] if folder else []
            self._caches = (*own, *([ReplyCache(self._cache)] if self._cache else []))
        self._judge.use(ModelResources(self._caches, limit, self._outage_timeout, self.on_wait))
        if folder and remote:
            self._lines = (
                ReplyCache(folder / REPLIES, keep_rejected=True),
            )  # apart, as `stage` takes back verdicts only
        for speaker in remote:
            speaker.use(ModelResources(self._lines, None, self._outage_timeout, self.on_wait))

    def is_calibrated(self, calibration: str, role: str, metrics: Collection[str]) -> bool:
        """Returns whether the judge is exact, or was found usable for all of these metrics that it decides."""
        judged = [name for name in metrics if load_metric(name).is_judged]
        return self.is_exact or (bool(calibration) and is_calibrated(calibration, self.identity, role, judged))

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

    @property
    def inner(self) -> Judge:
        """The judge alone, within the same limits but without canaries."""
        return self._judge

    @property
    def in_work(self) -> tuple[int, int] | None:
        """How many replies have come to how many queries of the batch that is being judged; None if there is none."""
        batch = self._batch
        return None if batch is None or self.is_exact else (self._replies - batch[0], batch[1])

    @property
    def _replies(self) -> int:
        return self.usage.calls - self.usage.retries + self.usage.cached

    def judge(self, queries: Sequence[Query]) -> list[Verdict]:
        """Returns the verdicts, in order.

        Raises:
            RunEnded: If the server is away for too long, the budget is spent, or the judge fails its canaries.
        """
        self._batch = (self._replies, len(queries))
        try:
            return (self._canaries or self._judge).judge(queries)
        finally:
            self._batch = None
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
        for cache in (*self._caches, *self._lines):
            cache.close()


def _check_cache(path: str) -> None:
    """Refuses a cache file that cannot be used, before anything is written."""
    if check_target(path).is_file():
        ReplyCache(path).close()
