"""Judging beside the generation: asked when the lines are completed, collected when the replies are there."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import TracebackType

from persona_env.judges.base import Judge, Verdict
from persona_env.judges.waiting import interrupt
from persona_env.metrics import QueryOrVerdict, verdicts_on

__all__ = ["OverlappedJudge"]

_GRACE = 5.0  # seconds for the verdicts of a step that failed: a store keeps them, so that nothing is paid twice
_AGAIN = 0.05


class _Call:
    """One judge call, after that of the wrapper inside, if there is one; not made if that one fails."""

    def __init__(self, findings: Sequence[QueryOrVerdict], judge: Judge, after: _Call | None):
        self.findings, self.judge = findings, judge
        self.verdicts: list[Verdict] | None = None
        self.error: BaseException | None = None
        self._after, self._follower, self._is_called_off = after, None, False
        if after is not None:
            after._follower = self
        self._is_over = threading.Event()  # a thread whose `join` Ctrl-C interrupts counts as ended in Python 3.11
        self._thread = threading.Thread(target=self._run, name="persona-env judging", daemon=True)

    def start(self) -> None:
        """Begins to ask."""
        self._thread.start()

    def wait(self, seconds: float | None = None) -> bool:
        """Returns whether it is over, after at most so many seconds."""
        is_over = self._is_over.wait(seconds)
        if is_over:
            self._thread.join()
        return is_over

    def end(self, grace: float) -> None:
        """Returns once neither this call goes on nor one that would follow; both are interrupted after `grace` s."""
        self._call_off()
        is_over = self.wait(grace)
        while not is_over:
            interrupt(self.judge)
            is_over = self.wait(_AGAIN)
        if self._follower is not None:
            self._follower.end(grace)

    def _run(self) -> None:
        try:
            if self._after is not None:
                self._after.wait()
                self._is_called_off |= self._after.verdicts is None
            if not self._is_called_off:
                self.verdicts = verdicts_on(self.findings, self.judge)
        except BaseException as error:  # raised again where it is collected
            self.error = error
        finally:
            self._is_over.set()

    def _call_off(self) -> None:
        self._is_called_off = True
        if self._follower is not None:
            self._follower._call_off()


class OverlappedJudge:
    """What the judge of a vector reward does while the task agent replies; `with` it around each step.

    However a step ends, no call goes on after it. An interrupted step (Ctrl-C) interrupts the judge; one that
    fails in another way leaves it a few seconds first. In the calls of a stack each waits for that of the
    wrapper inside, so that a judge is never in two of them at once and their order is that without overlap.
    """

    def __init__(self) -> None:
        self._call: _Call | None = None
        self._is_stepping = False

    @property
    def has_begun(self) -> bool:
        """Whether there is a call that is not collected yet."""
        return self._call is not None

    def __enter__(self) -> OverlappedJudge:
        self._is_stepping = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_stepping = False
        call = self._call
        self.end(_GRACE if isinstance(error, Exception) else 0.0)
        if call is not None and call.error is not None and isinstance(error, Exception):
            error.add_note(f"The judge failed as well: {type(call.error).__name__}: {call.error}")

    def begin(self, findings: Sequence[QueryOrVerdict], judge: Judge, after: OverlappedJudge | None) -> None:
        """Begins to ask, in a thread, if something is to be asked and a step is going on.

        Args:
            findings: What `verdicts_on` will be called with.
            judge: The judge.
            after: Whose call comes first.
        """
        if not self._is_stepping or all(isinstance(finding, Verdict) for finding in findings):
            return
        self.end(_GRACE)  # there is one only where a layer in between steps twice
        self._call = _Call(findings, judge, after._call if after is not None else None)
        self._call.start()

    def verdicts_on(self, findings: Sequence[QueryOrVerdict], judge: Judge | None) -> list[Verdict]:
        """Returns what `metrics.verdicts_on` does: from the call that has begun if it asks the same, else now.

        Raises:
            BaseException: What the judge raised.
        """
        call = self._call
        if call is not None and call.judge is judge and call.findings == findings:
            call.wait()
            self._call = None
            if call.error is not None:
                raise call.error
            if call.verdicts is not None:
                return call.verdicts
        self.end(_GRACE)
        return verdicts_on(findings, judge)

    def end(self, grace: float = 0.0) -> None:
        """Returns once no call goes on; after `grace` seconds the judge is interrupted."""
        if self._call is not None:
            self._call.end(grace)
            self._call = None
