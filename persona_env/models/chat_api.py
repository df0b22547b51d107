"""A client of OpenAI-compatible servers: many chat completions in flight, from code that does not await."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import json
import os
import random
import threading
import weakref
from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from persona_env.errors import BudgetSpent, InputError
from persona_env.models.chat import ChatReply, ChatRequest, check_reply, read_reply, read_usage
from persona_env.models.dialect import Dialect, encoded
from persona_env.models.endpoint import Endpoint
from persona_env.models.faults import BadReply, Filtered, NoText, Overloaded, Refused, RemoteFault, TooLong
from persona_env.models.flow_control import FlowControl
from persona_env.models.limits import ModelResources, Usage
from persona_env.models.reply_cache import ReplyCache, reply_key

if TYPE_CHECKING:
    from persona_env.models.transport import Transport

__all__ = ["ChatClient"]

_MOST_LASTING = 2  # tries of what asking again changes little
_THREAD = "persona-env-chat"

_Found = dict[bytes, ChatReply | RemoteFault]


class ChatClient:
    """Asks a server for chat completions; returns, for each request, a checked reply or a typed fault.

    Failed requests are repeated after growing waits, or as long as `Retry-After` says; on a 429 fewer requests are in
    flight. What asking again changes little (a filter, a refusal, a wrong form) is asked twice. While the server is
    away one request a second tries it. The key is read from the environment, once, and is sent to https and loopback
    addresses only. Proxies and certificates of the environment are used; redirects are not followed; nothing is logged.
    May be called from several threads, but not from a forked child.

    Args:
        endpoint: The model and its server.
        request_timeout: Seconds within which a request is answered, or any other meanwhile; None for the endpoint's.
        max_retries: How often a failed request is repeated; what only waits for the server does not count.
        max_in_flight: The most requests in flight, over all threads.
        outage_timeout: Seconds for which a server that is away is waited for.
        max_prompt_chars: The most characters of a prompt (a token has 3 to 4 in English); a longer one is not sent.
        reuses_connections: Whether several requests go over one connection. Where a reply cannot show whose it is, only
            a connection of its own keeps a late one from being taken for the next.

    Example:
        `ChatClient(Endpoint.parse("some-model@http://127.0.0.1:8000/v1")).complete([request])`
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        request_timeout: float | None = None,
        max_retries: int = 11,
        max_in_flight: int = 64,
        outage_timeout: float = 600.0,
        max_prompt_chars: int | None = None,
        reuses_connections: bool = True,
    ):
        request_timeout = endpoint.options.timeout if request_timeout is None else request_timeout
        if not (0 < request_timeout < float("inf") and 0 <= outage_timeout < float("inf")):
            raise InputError(
                f"Expected request_timeout > 0 and outage_timeout >= 0 s, got {request_timeout} and {outage_timeout}: "
                "give seconds."
            )
        if max_retries < 0 or max_in_flight < 1 or (max_prompt_chars is not None and max_prompt_chars < 1):
            raise InputError(
                f"Expected max_retries >= 0, max_in_flight and max_prompt_chars >= 1, got {max_retries}, "
                f"{max_in_flight} and {max_prompt_chars}: allow some."
            )
        self.endpoint = endpoint
        self._used, self._cached = Usage(), 0
        self._max_retries, self._max_prompt_chars = max_retries, max_prompt_chars
        self._flow = FlowControl(endpoint.base_url, max_in_flight, max(16, max_retries + 5), outage_timeout)
        self._resources, self._rng = ModelResources(), random.Random(0)
        self._dialect = Dialect(endpoint)
        self._transport = _transport(endpoint, request_timeout, reuses_connections)
        self._running = set[concurrent.futures.Future[_Found]]()
        self._process = os.getpid()
        self._loop = _event_loop(self._process)
        self._close = weakref.finalize(self, _close, self._transport, self._loop, self._process)

    @property
    def usage(self) -> Usage:
        """What was used so far."""
        return self._used + Usage(cached=self._cached)

    def use(self, resources: ModelResources) -> None:
        """Takes caches, a limit and how to wait from a run; holds for requests that start from now on."""
        self._resources = resources
        self._flow.on_wait = resources.on_wait
        if resources.outage_timeout is not None:
            self._flow.outage_timeout = resources.outage_timeout

    def complete(self, requests: Sequence[ChatRequest]) -> list[ChatReply | RemoteFault]:
        """Returns a reply for each request, in order, or the fault that stood at the end of all its tries.

        Replies that a cache knows are not asked for; others are written to all caches as they arrive. With a cache,
        equal requests of a call are sent once. A reply that says nothing, or that the request does not `accept`, is
        asked again and, at the end, that fault, and is written only to caches that `keep_rejected`.

        Raises:
            Unavailable: If the server is away for longer than `outage_timeout`, or refuses the key or all requests.
            BudgetSpent: If the limit allows no further request; what is in flight is finished first.
            InputError: If the client is closed, or a text cannot be sent.
        """
        if not self._close.alive or os.getpid() != self._process:
            got = "one of the parent process" if self._close.alive else "a closed one"
            raise InputError(f"Expected an open client, got {got}: make another.")
        keys = self._keys(requests)
        asked = dict(zip(keys, requests, strict=True))
        found = _look_up(self._resources.caches, asked)
        missing = {key: request for key, request in asked.items() if key not in found}
        self._cached += len(requests) - len(missing)
        if missing:
            found |= self._wait_for(self._ask_all(missing))
        return [found[key] for key in keys]

    def cancel(self) -> None:
        """Stops the calls of `complete` that other threads wait in; the client stays open."""
        for future in tuple(self._running):
            future.cancel()

    def close(self) -> None:
        """Cancels what is in flight and closes the connections."""
        self.cancel()
        self._close()

    def __enter__(self) -> ChatClient:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"ChatClient({self.endpoint!r})"

    def __deepcopy__(self, memo: dict[int, Any]) -> ChatClient:
        return self  # an environment's spec copies its arguments: connections are shared, not copied

    def _keys(self, requests: Sequence[ChatRequest]) -> list[bytes]:
        if not self._resources.caches:  # then each is asked, whether they are equal or not
            return [place.to_bytes(8) for place in range(len(requests))]
        identity = self.endpoint.identity
        return [reply_key(identity, request.fields) for request in requests]

    def _wait_for(self, work: Coroutine[Any, Any, _Found]) -> _Found:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        self._running.add(future)
        try:
            while not future.done():  # a wait without an end could not be interrupted on Windows
                concurrent.futures.wait([future], timeout=0.5)
            return future.result()
        except concurrent.futures.CancelledError:
            raise InputError("Expected an open client, got one that was closed or cancelled: ask again.") from None
        finally:
            self._running.discard(future)
            future.cancel()  # after a KeyboardInterrupt nothing stays in flight

    async def _ask_all(self, missing: Mapping[bytes, ChatRequest]) -> _Found:
        self._flow.reset()
        tasks = [asyncio.create_task(self._ask(request, key)) for key, request in missing.items()]
        try:
            return dict(zip(missing, await asyncio.gather(*tasks), strict=True))
        except BudgetSpent:
            await asyncio.gather(*tasks, return_exceptions=True)  # what is in flight is paid for, and so kept
            raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, request: ChatRequest, key: bytes) -> ChatReply | RemoteFault:
        """Returns the reply to one request, or its last fault: the one loop that asks again."""
        length = sum(len(text) for _, text in request.messages)
        if self._max_prompt_chars is not None and length > self._max_prompt_chars:
            return TooLong(f"the prompt has {length} characters, more than {self._max_prompt_chars}")
        failures, overloads, lasting, tries = 0, 0, 0, 0
        while True:
            reply = None
            try:
                reply = await self._send(request, is_retry=tries > 0)
                check_reply(request, reply)
                self._store(key, reply)
                return reply
            except RemoteFault as fault:
                self._learn(fault, reply)
                failures += fault.counts
                overloads += isinstance(fault, Overloaded)
                lasting += fault.is_lasting
                if lasting >= _MOST_LASTING or (fault.counts and failures > self._max_retries):
                    self._store_rejected(key, fault, reply)
                    return fault.with_traceback(None)
                pause = self._pause(fault, failures, overloads)
            tries += 1
            await asyncio.sleep(pause)

    def _learn(self, fault: RemoteFault, reply: ChatReply | None) -> None:
        """Gives room to a model whose thought took all of it; mistrusts connections that bring others' replies."""
        if isinstance(fault, NoText) and reply is not None and reply.finish_reason == "length":
            self._dialect.make_room()
        if isinstance(fault, BadReply) and not fault.is_lasting:
            self._transport.stop_reusing()

    async def _send(self, request: ChatRequest, is_retry: bool) -> ChatReply:
        """Sends a request once, and again where the server takes it in another form."""
        async with self._flow.slot():
            while True:
                fields, most_tokens = self._dialect.fields(request), self._dialect.most_tokens(request)
                try:
                    return await self._exchange(encoded(fields), most_tokens, is_retry)
                except Refused as fault:
                    if not self._dialect.learn(fields, fault.said):
                        raise
                is_retry = True

    async def _exchange(self, sent: bytes, most_tokens: int, is_retry: bool) -> ChatReply:
        """Sends a body once and counts what it costs."""
        limit = self._resources.limit
        if limit is not None:
            limit.start()
        self._used += Usage(calls=1, retries=int(is_retry))
        prompt = completion = 0
        try:
            body = await self._transport.post(sent, most_tokens)
            prompt, completion = read_usage(body)
            reply = read_reply(body, sent)
            prompt, completion = reply.prompt_tokens, reply.completion_tokens
            if self._transport.holds_key(reply.text):
                raise BadReply("the reply holds the key that it was asked with")
            return reply
        finally:
            self._used += Usage(prompt_tokens=prompt, completion_tokens=completion)
            if limit is not None:
                limit.add_tokens(prompt + completion)

    def _pause(self, fault: RemoteFault, failures: int, overloads: int) -> float:
        """Returns the seconds before a request is repeated: growing, with chance, or those the server asks for."""
        chance = self._rng.uniform(0.5, 1.0)
        if isinstance(fault, Overloaded):
            return chance * min(0.25 * 2.0 ** (overloads - 1), 8.0) if fault.wait is None else fault.wait
        return chance * min(0.1 * 2.0 ** (failures - 1), 5.0) if failures else 0.0

    def _store(self, key: bytes, reply: ChatReply, is_rejected: bool = False) -> None:
        text = json.dumps([reply.text, reply.finish_reason, reply.prompt_tokens, reply.completion_tokens])
        for cache in self._resources.caches:
            if cache.keep_rejected or not is_rejected:
                cache.put({key: text})

    def _store_rejected(self, key: bytes, fault: RemoteFault, reply: ChatReply | None) -> None:
        if reply is None and isinstance(fault, Filtered):
            reply = ChatReply("", "content_filter", 0, 0)
        if reply is not None:
            self._store(key, reply, is_rejected=True)


def _look_up(caches: Sequence[ReplyCache], asked: Mapping[bytes, ChatRequest]) -> _Found:
    """Returns what several caches know, by key, and copies what a later one has into the earlier ones.

    A reply that cannot be used is the fault that is raised for it.
    """
    found = _Found()
    for place, cache in enumerate(caches):
        good = dict[bytes, str]()
        for key, text in cache.get(key for key in asked if key not in found).items():
            reply = ChatReply(*json.loads(text))
            try:
                check_reply(asked[key], reply)
                found[key], good[key] = reply, text
            except RemoteFault as fault:
                if cache.keep_rejected:
                    found[key] = fault.with_traceback(None)
        for earlier in caches[:place] if good else ():
            earlier.put(good)
    return found


@functools.cache
def _event_loop(process: int) -> asyncio.AbstractEventLoop:
    """Returns the loop that all clients of this process share; it runs in a thread of its own."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name=_THREAD, daemon=True).start()
    return loop


def _close(transport: Transport, loop: asyncio.AbstractEventLoop, process: int) -> None:
    """Closes a client's connections, from whatever thread lets go of it."""
    if os.getpid() == process:
        closing = asyncio.run_coroutine_threadsafe(transport.close(), loop)
        if threading.current_thread().name != _THREAD:
            concurrent.futures.wait([closing], timeout=5.0)


def _transport(endpoint: Endpoint, request_timeout: float, reuses_connections: bool) -> Transport:
    try:
        from persona_env.models.transport import Transport
    except ModuleNotFoundError as error:
        raise InputError(
            f'Expected the extra openai, got no {error.name}: install with pip install "persona-env[openai]".'
        ) from None
    return Transport(endpoint, request_timeout, reuses_connections)
