"""An asyncio loop in a thread of its own, so that those who do not await can have many things in flight."""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from persona_env.errors import InputError

__all__ = ["LoopThread"]

_T = TypeVar("_T")
_left = list[Any]()  # loops of a parent: a child that freed them would end what they run


class LoopThread:
    """Runs coroutines; the thread starts with the first and ends with `stop`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopped = False

    def forked(self) -> None:
        """In a forked child, where the thread is missing: leaves the loop to the parent, to start another one."""
        loop: Any = self._loop
        if loop is not None:
            _left.append(loop)
            loop._selector = selectors.DefaultSelector()  # the old one is shared: it would stop watching for the parent
        self._lock, self._loop, self._thread = threading.Lock(), None, None

    def submit(self, make: Callable[[], Coroutine[Any, Any, _T]]) -> Future[_T]:
        """Runs what `make` returns.

        Raises:
            ValueError: If it was stopped.
        """
        with self._lock:
            if self._stopped:
                raise InputError("Expected an open client, got a closed one: make another.")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=_run, args=(self._loop,), name="persona-env", daemon=True)
                self._thread.start()
            return asyncio.run_coroutine_threadsafe(make(), self._loop)

    def stop(self, last: Callable[[], Awaitable[None]]) -> None:
        """Cancels what runs, awaits `last`, and ends the thread; more than once does nothing."""
        with self._lock:
            loop, thread, self._stopped, self._loop = self._loop, self._thread, True, None
        if loop is None or thread is None:
            return
        loop.call_soon_threadsafe(lambda: setattr(loop, "_ending", loop.create_task(_end(loop, last))))
        if threading.current_thread() is not thread:
            thread.join(10.0)


async def _end(loop: asyncio.AbstractEventLoop, last: Callable[[], Awaitable[None]]) -> None:
    others = [task for task in asyncio.all_tasks(loop) if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    try:
        await last()
    finally:
        await asyncio.sleep(0)  # transports say their last word
        loop.stop()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
