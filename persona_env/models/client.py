"""Chat completions, many in flight, from code that does not await."""

from __future__ import annotations

import asyncio
import math
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from functools import partial
from types import TracebackType
from typing import Any

from persona_env.errors import InputError
from persona_env.models.asking import Asking
from persona_env.models.chat import ChatReply, ChatRequest, Usage
from persona_env.models.endpoint import Endpoint
from persona_env.models.faults import BadReply, RemoteFault, Unavailable
from persona_env.models.loop_thread import LoopThread

__all__ = ["BadReply", "ChatClient", "ChatReply", "ChatRequest", "Endpoint", "RemoteFault", "Usage"]


class ChatClient:
    """Asks a server for chat completions and returns, for each, a reply that was checked or a typed fault.

    One loop asks again where that may help: after growing waits, as long as `Retry-After` says, and at the
    speed that the server keeps up with. While the server is down, one request a second tries it. A prompt
    that goes down with it again and again is put aside. The key is read from OPENAI_API_KEY, once; it stands
    nowhere but in the header. Redirects are not followed, proxies not used, and nothing is logged.

    May be called from any thread, also from several at once, and in a forked child, which gets connections of
    its own. The work is done in a thread of its own, which starts with the first call and ends with `close`.
    Pickled, it is what it was made from, without `on_wait`; the key is read again.

    Args:
        endpoint: The model and its server.
        deadline: Seconds for one call, from connecting to the last byte.
        attempts: How often one thing is asked; waiting for a server that is down, or that asks for patience,
            does not count. The same reply four times in a row that `accept` does not take is enough, too.
        max_in_flight: How many calls may be in flight, over all threads.
        patience: Seconds without a reply after which the server counts as unavailable.
        longest: The most characters of a prompt (a token has 3 to 4 in English); a longer one is not sent.
        on_wait: Called about once a second, in the client's thread, with the seconds waited so far for a
            server that is down; may be set later.

    Raises:
        ValueError: If an argument is out of range, or the extra `openai` is missing.

    Attributes:
        waits: Whoever asks it waits for a server (see `persona_env.judges.waiting`).

    Example:
        `ChatClient(Endpoint.parse("some-model@http://127.0.0.1:8000/v1")).complete([request])`
    """

    waits = True

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        deadline: float = 60.0,
        attempts: int = 12,
        max_in_flight: int = 64,
        patience: float = 600.0,
        longest: int | None = None,
        on_wait: Callable[[float], None] | None = None,
    ):
        if not (0 < deadline < math.inf and 0 <= patience < math.inf):
            raise InputError(f"Expected deadline > 0 and patience >= 0 s, got {deadline} and {patience}: give seconds.")
        if attempts < 1 or max_in_flight < 1 or (longest is not None and longest < 1):
            raise InputError(
                f"Expected attempts, max_in_flight and longest >= 1, got {attempts}, {max_in_flight} and {longest}: "
                "allow some."
            )
        self.endpoint, self.on_wait = endpoint, on_wait
        self.max_in_flight = max_in_flight
        self._again = partial(
            ChatClient, endpoint, deadline=deadline, attempts=attempts, max_in_flight=max_in_flight,
            patience=patience, longest=longest,
        )  # fmt: skip
        told = weakref.WeakMethod(self._tell)
        self._asking = Asking(endpoint, deadline, attempts, max_in_flight, patience, longest, _weakly(told))
        self._thread = LoopThread()
        self._completing: set[Future[list[ChatReply | RemoteFault]]] = set()
        self._finalizer = weakref.finalize(self, self._thread.stop, self._asking.close)
        _clients.add(self)

    @property
    def usage(self) -> Usage:
        """What was used so far."""
        return self._asking.usage

    def complete(
        self, requests: Sequence[ChatRequest], accept: Callable[[ChatReply], None] | None = None
    ) -> list[ChatReply | RemoteFault]:
        """Returns a reply for each request, in order, or the fault that stood at the end of all attempts.

        Args:
            requests: What to ask.
            accept: Raises `BadReply` for a reply that is to be asked again. Runs in the client's thread.

        Raises:
            Unavailable: If the server stays down for longer than `patience`; it holds the replies so far.
            ValueError: If the client is closed, or a text cannot be sent.
        """
        if not requests:
            return []
        future = self.submit(requests, accept)
        self._completing.add(future)
        try:
            return future.result()
        except CancelledError:
            raise InputError("Expected an open client, got one that was closed meanwhile: make another.") from None
        except BaseException:  # KeyboardInterrupt above all: nothing stays in flight
            future.cancel()
            raise
        finally:
            self._completing.discard(future)

    def interrupt(self) -> None:
        """Stops what other threads wait for in `complete`, which raises there as if it were closed; it stays open."""
        for future in tuple(self._completing):
            future.cancel()

    def submit(
        self, requests: Sequence[ChatRequest], accept: Callable[[ChatReply], None] | None = None
    ) -> Future[list[ChatReply | RemoteFault]]:
        """Starts what `complete` does and returns at once; cancelling the future stops what is in flight."""
        return self._thread.submit(lambda: _complete(self._asking, tuple(requests), accept, self.max_in_flight))

    def close(self) -> None:
        """Cancels what is in flight, closes the connections and ends the thread."""
        self._finalizer()

    def __enter__(self) -> ChatClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"ChatClient({self.endpoint!r})"

    def __deepcopy__(self, memo: dict[int, Any]) -> ChatClient:
        return self  # an environment's spec copies its arguments: connections are shared, not copied

    def __reduce__(self) -> tuple[Callable[[], ChatClient], tuple[()]]:
        return self._again, ()

    def _forked(self) -> None:
        self._thread.forked()
        self._asking.forked()
        self._completing.clear()

    def _tell(self, seconds: float) -> None:
        if self.on_wait is not None:
            self.on_wait(seconds)


_clients = weakref.WeakSet[ChatClient]()


def _in_child() -> None:
    for client in list(_clients):
        client._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def _weakly(method: weakref.WeakMethod[Callable[[float], None]]) -> Callable[[float], None]:
    """Calls a method without keeping its object alive."""

    def tell(seconds: float) -> None:
        found = method()
        if found is not None:
            found(seconds)

    return tell


async def _complete(
    asking: Asking,
    requests: Sequence[ChatRequest],
    accept: Callable[[ChatReply], None] | None,
    workers: int,
) -> list[ChatReply | RemoteFault]:
    """Asks everything; what ends one ends all."""
    found: dict[int, ChatReply | RemoteFault] = {}
    asking.start()

    async def work(places: Iterator[int]) -> None:
        for place in places:
            found[place] = await asking.ask(requests[place], accept)

    places = iter(range(len(requests)))
    tasks = [asyncio.create_task(work(places)) for _ in range(min(workers, len(requests)))]
    try:
        await asyncio.gather(*tasks)
    except Unavailable as error:
        replies = {place: reply for place, reply in found.items() if isinstance(reply, ChatReply)}
        raise Unavailable(str(error), replies) from None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return [found[place] for place in range(len(requests))]
