"""Runs a remote judge while the task agent generates."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, wait
from types import TracebackType

from persona_env.judges.base import Judge, JudgeLike, Query, Verdict
from persona_env.metrics.metric import QueryOrVerdict, verdicts_on

__all__ = ["OverlappedJudge"]

_RETRY_SECONDS = 0.05  # a judge that has not sent its requests yet has nothing to cancel


class OverlappedJudge:
    """The judge call of one step of a vector reward: begun when lines are completed, collected after the replies.

    It is used with `with` around each step.
    No call outlives its step: an interrupted or failed step cancels the judge. Local judges are asked when the
    verdicts are collected, since they would only compete with the task agent for the processor.
    """

    def __init__(self) -> None:
        self._is_stepping = False
        self._begun: tuple[Judge, list[QueryOrVerdict], Future[list[Verdict]]] | None = None

    def __enter__(self) -> OverlappedJudge:
        self._is_stepping = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_stepping = False
        self.cancel()

    def begin(self, items: Sequence[QueryOrVerdict], judge: Judge | None) -> None:
        """Submits the queries among `items` to a remote judge, if a step is going on."""
        queries = list(dict.fromkeys(item for item in items if not isinstance(item, Verdict)))
        if judge is not None and judge.is_remote and queries and self._is_stepping:
            self.cancel()  # a wrapper further inside may step twice
            self._begun = judge, list(items), judge.submit(queries)

    def collect(self, items: Sequence[QueryOrVerdict], judge: JudgeLike | None) -> list[Verdict]:
        """Returns what `verdicts_on` does: from the call that has begun if it is about the same items.

        Raises:
            BaseException: What the judge raised.
        """
        if self._begun is None or judge is None or self._begun[0] is not judge or self._begun[1] != list(items):
            self.cancel()
            return verdicts_on(items, judge)
        verdicts = verdicts_on(items, _Submitted(judge, self._begun[2]))
        self._begun = None
        return verdicts

    def cancel(self) -> None:
        """Cancels the call that has begun, if there is one; returns when it is over."""
        if self._begun is not None:
            judge, _, future = self._begun
            while not future.cancel() and not future.done():
                judge.cancel()
                wait([future], timeout=_RETRY_SECONDS)
            self._begun = None


class _Submitted(Judge):
    """The verdicts of a call that has begun."""

    def __init__(self, judge: JudgeLike, future: Future[list[Verdict]]):
        self._judge, self._future = judge, future

    def judge(self, queries: Sequence[Query]) -> list[Verdict]:
        """Waits for the verdicts; asks now if the call was cancelled before it started."""
        try:
            return self._future.result()
        except CancelledError:
            return self._judge.judge(queries)
