"""Asking for one reply until it is there: the one loop that asks again."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from persona_env.errors import InputError
from persona_env.models.breaker import Breaker
from persona_env.models.chat import ChatReply, ChatRequest, Usage
from persona_env.models.completion import Completion
from persona_env.models.endpoint import Endpoint
from persona_env.models.faults import BadReply, Overloaded, RemoteFault, TooLong, Unavailable, Unreachable
from persona_env.models.gate import Gate

if TYPE_CHECKING:
    from persona_env.models.channel import Channel

__all__ = ["Asking"]

_SAME = 4
_LONG_WAIT = 5.0


@dataclass(slots=True, eq=False)
class _Item:
    """One thing that is asked: how often it was, and what came of it."""

    sent: bytes
    max_tokens: int
    calls: int = 0
    failed: int = 0
    refused: int = 0
    deaths: int = 0
    alone: bool = False
    last_text: str = ""
    same: int = 0


class Asking:
    """Asks a server; all methods but `usage` belong to one asyncio loop.

    Args:
        endpoint: See `ChatClient`.
        deadline: See `ChatClient`.
        attempts: See `ChatClient`.
        max_in_flight: See `ChatClient`.
        patience: See `ChatClient`.
        longest: See `ChatClient`.
        tell: Called with the seconds of a wait.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        deadline: float,
        attempts: int,
        max_in_flight: int,
        patience: float,
        longest: int | None,
        tell: Callable[[float], None],
    ):
        self._model, self._attempts = endpoint.model, attempts
        self._patience, self._longest, self._tell = patience, longest, tell
        self._channel = _channel(endpoint, deadline)
        self._name, self._most = endpoint.base_url, max_in_flight
        self.usage = Usage()
        self._know_nothing()

    def _know_nothing(self) -> None:
        self._breaker = Breaker(self._name, self._patience, self._tell)
        self._gate = Gate(self._most, self._breaker)
        self._rng = random.Random(0)
        self._last_reply = 0.0

    def forked(self) -> None:
        """In a forked child: leaves what goes on to the parent, and begins anew but for `usage`."""
        self._channel.forked()
        self._know_nothing()

    def start(self) -> None:
        """Notes that something new is to be asked; where nothing else is, the server gets another chance."""
        if self._gate.is_empty:
            self._breaker.reset()
            self._last_reply = time.monotonic()

    async def close(self) -> None:
        """Closes the connections."""
        await self._channel.close()

    async def ask(
        self, request: ChatRequest, accept: Callable[[ChatReply], None] | None = None
    ) -> ChatReply | RemoteFault:
        """Returns the reply, or the fault that stands at the end.

        Raises:
            Unavailable: If the server stays down.
        """
        if self._longest is not None and request.characters > self._longest:
            return TooLong(f"the prompt has {request.characters} characters, more than {self._longest}: not sent")
        item = _Item(request.body(self._model), request.max_tokens)
        while True:
            try:
                return await self._attempt(item, accept)
            except Unavailable:
                raise
            except RemoteFault as fault:
                if self._is_over(item, fault):
                    return fault
                await asyncio.sleep(self._wait(item, fault))

    async def _attempt(self, item: _Item, accept: Callable[[ChatReply], None] | None) -> ChatReply:
        async with self._gate.enter(item) as sent_at:
            self._count(calls=1, retries=int(item.calls > 0))
            item.calls += 1
            try:
                reply = self._read(await self._channel.post(item.sent, item.max_tokens), item, accept)
            except RemoteFault as fault:
                self._note(fault, item, sent_at)
                raise
            self._breaker.succeeded(sent_at)
            self._gate.pace.answered(time.monotonic(), sent_at)
            self._gate.widen()
            self._last_reply = time.monotonic()
            return reply

    def _read(self, body: bytes, item: _Item, accept: Callable[[ChatReply], None] | None) -> ChatReply:
        """Returns the reply that a body holds, once it is one that can be used."""
        completion = Completion.read(body)
        tokens = completion.tokens
        try:
            reply = completion.reply(item.sent)
        except BadReply:
            self._count(prompt=tokens.prompt or 0, completion=tokens.completion or 0)
            raise
        self._count(prompt=reply.prompt_tokens, completion=reply.completion_tokens)
        if self._channel.holds_key(reply.text):
            raise BadReply("the reply holds the key that it was asked with")
        try:
            if accept is not None:
                accept(reply)
        except BadReply:
            item.same = item.same + 1 if reply.text == item.last_text else 1
            item.last_text = reply.text
            raise
        return reply

    def _note(self, fault: RemoteFault, item: _Item, sent_at: float) -> None:
        """Tells all who must know what happened to a request."""
        now = time.monotonic()
        was_attempt = self._breaker.failed(fault, item, sent_at, now)
        if isinstance(fault, Overloaded):
            item.refused += 1
            self._gate.pace.refused(now, sent_at)
            self._be_patient(fault, now)
            return
        self._gate.pace.answered(now, sent_at)
        if was_attempt:
            self._last_reply = now
            item.failed += 1

    def _be_patient(self, fault: Overloaded, now: float) -> None:
        """Holds everything where the server asks for a long wait; gives up where it is too long."""
        wait, waited = fault.wait or 0.0, now - self._last_reply
        if max(wait, waited) > self._patience:
            raise Unavailable(
                f"Expected {self._name} to answer within {self._patience:g} s, got it asking for more patience: "
                "look at its limits, then resume."
            )
        if wait >= _LONG_WAIT:
            self._gate.pace.hold(now + wait)
            self._tell(waited)

    def _is_over(self, item: _Item, fault: RemoteFault) -> bool:
        return not fault.again or item.failed >= self._attempts or item.same >= _SAME

    def _wait(self, item: _Item, fault: RemoteFault) -> float:
        """Returns the seconds before it is asked again: growing, with chance, or those the server asks for."""
        if self._breaker.is_down:
            return 0.0
        chance = self._rng.uniform(0.5, 1.0)
        if not isinstance(fault, Overloaded):
            most = 0.5 if isinstance(fault, Unreachable) else 5.0  # whether it is down shows with the next call
            return chance * min(0.1 * 2.0 ** (item.failed - 1), most)
        return chance * min(0.25 * 2.0 ** (item.refused - 1), 8.0) if fault.wait is None else fault.wait

    def _count(self, calls: int = 0, retries: int = 0, prompt: int = 0, completion: int = 0) -> None:
        used = self.usage
        self.usage = Usage(
            used.calls + calls,
            used.prompt_tokens + prompt,
            used.completion_tokens + completion,
            used.retries + retries,
        )


def _channel(endpoint: Endpoint, deadline: float) -> Channel:
    try:
        from persona_env.models.channel import Channel
    except ModuleNotFoundError as error:
        raise InputError(
            f'Expected the extra openai, got no {error.name}: install with pip install "persona-env[openai]".'
        ) from None
    return Channel(endpoint, deadline)
