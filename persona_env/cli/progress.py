"""How far long work is: bars on a terminal, a line a minute where there is none."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from persona_env.report.terminal import Terminal
from persona_env.runs.run_judge import RunJudge

__all__ = ["ProgressReport"]

_MINUTE = 60.0


class ProgressReport:
    """Tells on standard error how far each stage is; call it with a stage, how much is done and how much there is.

    On a terminal it is a bar for each stage. Elsewhere it is one line a minute, so that work under a minute writes
    none. What the `judge` is doing, or waits for, is told along. `clock` gives seconds.
    """

    def __init__(
        self,
        judge: RunJudge | None = None,
        *,
        console: Terminal | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._judge, self._clock, self._lock = judge, clock, threading.Lock()
        self._console = console or Terminal(stderr=True)
        self._stage, self._away, self._told = "", 0.0, clock()
        self._bars, self._tasks = _bars(self._console, self._judging), dict[str, TaskID]()
        self._ended = threading.Event()
        if judge is not None:
            judge.on_wait = self._wait

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Notes how far a stage is."""
        name = stage.replace("_", " ")
        self._stage, self._away = f"{name}: {min(done, total):,} of {total:,}", 0.0
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total)
        self._bars.update(self._tasks[name], completed=min(done, total), total=total)

    def look(self) -> None:
        """Writes a line if a minute has passed since the last one."""
        with self._lock:
            now = self._clock()
            if self._stage and now - self._told >= _MINUTE:
                self._told = now
                with contextlib.suppress(OSError):
                    self._console.print(Text(f"{self._stage}{self._judging()}"), soft_wrap=True)

    def __enter__(self) -> ProgressReport:
        if self._console.is_terminal:
            self._bars.start()
        else:
            threading.Thread(target=self._look_on, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        if self._console.is_terminal:
            self._bars.stop()

    def _look_on(self) -> None:
        while not self._ended.wait(1.0):
            self.look()

    def _wait(self, seconds: float) -> None:
        self._away = seconds

    def _judging(self) -> str:
        """Returns what the judge is doing, in words; "" where it is idle or exact."""
        if self._away:
            return f"; a server is away for {self._away:.0f} s"
        work = self._judge.in_work if self._judge else None
        return f"; judge: {work[0]:,} replies to {work[1]:,} queries" if work else ""


def _bars(console: Terminal, judging: Callable[[], str]) -> Progress:
    class Judging(ProgressColumn):
        """What the judge is doing beside the stage that is not done, or done and being judged."""

        def render(self, task: Task) -> Text:
            return Text(judging().removeprefix("; ") if task is bars.tasks[-1] else "")

    columns: Any = (
        TextColumn("{task.description:<14}", markup=False), BarColumn(),
        TextColumn("{task.completed:,}/{task.total:,}"), TimeElapsedColumn(), Judging(),
    )  # fmt: skip
    bars = Progress(*columns, console=console, transient=True)
    return bars
