"""Ways in which a chat server can misbehave, and the one in which it does not."""

from __future__ import annotations

import asyncio
import functools
import gzip
import json
import random
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from socket import SO_LINGER, SOL_SOCKET
from typing import Any, TypeAlias


@dataclass(frozen=True)
class Call:
    """A request that came in."""

    number: int
    at: float
    target: str
    headers: Mapping[str, str]
    sent: Mapping[str, Any]

    @property
    def prompt(self) -> str:
        return str(self.sent["messages"][-1]["content"])


@dataclass
class Wire:
    """What a behaviour writes on."""

    call: Call
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    body: bytes
    open: bool = True

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def respond(self, body: bytes, status: int = 200, **headers: str) -> None:
        await self.write(head(status, len(body), **headers) + body)

    def reset(self) -> None:
        """Ends with RST instead of FIN."""
        self.writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        self.open = False

    def close(self) -> None:
        self.writer.close()
        self.open = False


Behaviour: TypeAlias = Callable[[Wire], Awaitable[None]]


def head(status: int = 200, length: int | None = None, **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", "content-type: application/json"]
    lines += [] if length is None else [f"content-length: {length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def right_answer(prompt: str) -> str:
    """What the server replies to a prompt, so that a reply to another one is noticed."""
    digest = sha256(prompt.encode())
    return json.dumps({"answer": "AB"[digest.digest()[0] % 2], "of": digest.hexdigest()})


def completion(text: Any, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    return {"id": "x", "object": "chat.completion", "created": 1, "choices": [choice], "usage": usage, **more}


async def well(wire: Wire) -> None:
    await wire.respond(wire.body)


def status(code: int, **headers: str) -> Behaviour:
    return raw(b'{"error": {"message": "no"}}', code, **headers)


def raw(body: bytes, code: int = 200, **headers: str) -> Behaviour:
    async def behave(wire: Wire) -> None:
        await wire.respond(body, code, **headers)

    return behave


def broken(write: Callable[[Wire], bytes], end: Callable[[Wire], None] = Wire.close) -> Behaviour:

    async def behave(wire: Wire) -> None:
        await wire.write(write(wire))
        end(wire)

    return behave


async def hang(wire: Wire) -> None:
    while not wire.reader.at_eof():
        await asyncio.sleep(0.02)


async def drip(wire: Wire, *, at_once: int = 80) -> None:
    data = head(200, len(wire.body)) + wire.body
    await wire.write(data[:at_once])
    for byte in data[at_once:]:
        await wire.write(bytes([byte]))
        await asyncio.sleep(0.05)


HTTP_FAULTS: dict[str, Behaviour] = {
    **{f"status {code}": status(code) for code in (500, 502, 503, 504, 429, 408)},
    "status 429 with a wait": status(429, retry_after="0.05"),
    "reset": broken(lambda wire: b"", Wire.reset),
    "closed": broken(lambda wire: b""),
    "reset in the body": broken(lambda wire: head(200, len(wire.body)) + wire.body[:40], Wire.reset),
    "cut off": broken(lambda wire: head(200, len(wire.body)) + wire.body[:-7]),
    "cut chunk": broken(
        lambda wire: head(200, transfer_encoding="chunked") + b"%x\r\n" % len(wire.body) + wire.body[:-9]
    ),
    "no end": broken(lambda wire: head(200, connection="close") + wire.body[:-9]),
    "no HTTP": broken(lambda wire: b"220 mail.example ESMTP ready\r\n\r\n"),
}


def changed(change: Callable[[dict[str, Any]], Any]) -> Behaviour:
    """Replies with what `change` makes of a right completion."""

    async def behave(wire: Wire) -> None:
        made = change(json.loads(wire.body))
        await wire.respond(made if isinstance(made, bytes) else json.dumps(made).encode())

    return behave


def _choice(**fields: Any) -> Behaviour:
    return changed(lambda good: {**good, "choices": [{**good["choices"][0], **fields}]})


def _message(**fields: Any) -> Behaviour:
    return _choice(message={"role": "assistant", "content": "A", **fields})


BAD_BODIES: dict[str, Behaviour] = {
    "nothing": raw(b""),
    "HTML": raw(b"<html><body>Bad gateway</body></html>"),
    "truncated JSON": changed(lambda good: json.dumps(good).encode()[:-15]),
    "a list": changed(lambda good: [good]),
    "a text": raw(b'"A"'),
    "null": raw(b"null"),
    "no choices": changed(lambda good: {k: v for k, v in good.items() if k != "choices"}),
    "empty choices": changed(lambda good: {**good, "choices": []}),
    "two choices": changed(lambda good: {**good, "choices": good["choices"] * 2}),
    "choices of another type": changed(lambda good: {**good, "choices": {"0": good["choices"][0]}}),
    "an error": raw(b'{"error": {"message": "overloaded", "code": 500}}'),
    "an error as a text": raw(b'{"error": "out of memory"}'),
    "NaN": changed(lambda good: {**good, "created": float("nan")}),
    "half a surrogate pair": _message(content="\ud800"),
    "no UTF-8": raw(b'{"choices": "\xff\xfe"}'),
    "UTF-16": changed(lambda good: json.dumps(good).encode("utf-16")),
    "content of another type": _message(content=1),
    "no message": _choice(message=None),
    "another role": _message(role="user"),
    "an end that is none": _choice(finish_reason="error"),
    "parts of another type": _message(content=[1]),
    "a tool call": _message(tool_calls=[{"id": "1"}]),
    "another index": _choice(index=1),
    "impossible usage": changed(lambda good: {**good, "usage": {"prompt_tokens": -1, "completion_tokens": 1.5}}),
    "more after the end": changed(lambda good: json.dumps(good).encode() * 2),
    "nested too deep": raw(b"[" * 50_000),
    "gzip": raw(gzip.compress(json.dumps(completion("A")).encode()), content_encoding="gzip"),
    "an encoding of its own": raw(b"{}", content_encoding="br"),
    "an event stream": raw(b'data: {"choices": []}\n\ndata: [DONE]\n\n'),
    "another status": status(204),
}


cut_off = _choice(finish_reason="length", message={"content": None, "reasoning_content": "The user asks"})
"""A thought that took all the room."""

WITHHELD: dict[str, Behaviour] = {
    "a filtered reply": _choice(finish_reason="content_filter"),
    "a reply filtered at its end": _choice(finish_reason="SAFETY", message={"content": "I am so"}),
    "a refusal": _message(content=None, refusal="I cannot."),
    "a refusal as a part": _message(content=[{"type": "refusal", "refusal": "I cannot."}]),
    "a refused prompt": raw(b'{"error": {"code": "content_filter", "message": "The prompt was filtered."}}', 400),
    "a refused prompt, inside": raw(
        b'{"error": {"code": "BadRequest", "message": "no", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}',
        400,
    ),
    "a blocked output": raw(
        b'{"type": "error", "error": {"type": "invalid_request_error", "message": "Blocked by content filtering."}}',
        400,
    ),
    "a flagged prompt": raw(b'{"error": {"code": 403, "message": "Your input was flagged."}}', 403),
    "an error within": raw(b'{"error": {"code": "content_policy_violation", "message": "no"}}'),
}
"""What a content filter or the model itself withholds."""
WITHOUT_TEXT: dict[str, Behaviour] = {
    "empty content": _message(content=""),
    "blank content": _message(content=" \n\t"),
    "null content": _message(content=None),
    "no content": _choice(message={"role": "assistant"}),
    "parts without text": _message(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]),
    "a thought beside": _message(content=None, reasoning_content="The user asks", reasoning="The user asks"),
    "a thought that is cut off": _message(content="<think>\nThe user asks"),
    "a thought that takes all the room": cut_off,
    "a thought only": _message(content="<think>The user asks.</think>\n"),
}
"""Replies that say nothing."""


def said_as(text: str) -> dict[str, Behaviour]:
    """The shapes in which servers send a text that is said."""
    ends = ("stop", "eos_token", "", None, "length", "STOP", "end_turn")
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "text", "text": text}]
    shapes = {f"finish_reason {end!r}": _choice(finish_reason=end, message={"content": text}) for end in ends}
    return shapes | {
        "no finish_reason": changed(lambda good: {**good, "choices": [{"message": {"content": text}}]}),
        "parts": _message(content=parts),
        "two parts": _message(content=[{"type": "text", "text": text[:2]}, {"text": text[2:]}]),
        "a thought beside it": _message(content=text, reasoning_content="Hm.", reasoning="Hm.", refusal=None),
        "a thought before it": _message(content=f"<think>\nHm.\n</think>\n\n{text}"),
        "a thought without its beginning": _message(content=f"Hm.\n</think>\n\n{text}"),
        "no error": changed(lambda good: {**good, "error": None} | _with_text(good, text)),
    }


def _with_text(good: dict[str, Any], text: str) -> dict[str, Any]:
    return {"choices": [{**good["choices"][0], "message": {"role": "assistant", "content": text, "refusal": ""}}]}


_packed_bomb = functools.cache(lambda: gzip.compress(bytes(200 << 20), 1))


async def gzip_bomb(wire: Wire) -> None:
    await wire.respond(_packed_bomb(), content_encoding="gzip")


def _flood(first: bytes, piece: bytes, times: int = 1 << 40) -> Behaviour:
    async def behave(wire: Wire) -> None:
        await wire.write(first)
        for _ in range(times):
            await wire.write(piece)

    return behave


BOMBS: dict[str, Behaviour] = {
    "gzip bomb": gzip_bomb,
    "200 MB": _flood(head(200, 200 << 20), b" " * (1 << 16), 200 << 4),
    "endless chunks": _flood(head(200, transfer_encoding="chunked"), b"1000\r\n" + b" " * 4096 + b"\r\n"),
    "endless headers": _flood(b"HTTP/1.1 200 X\r\n", b"x: " + b"y" * 4096 + b"\r\n"),
    "a line without end": _flood(b"", b"HTTP/1.1 200 " + b"X" * 65536),
}
SLOW: dict[str, Behaviour] = {"hang": hang, "drip": drip, "drip headers": functools.partial(drip, at_once=0)}
ALL = {"well": well} | HTTP_FAULTS | BAD_BODIES | BOMBS | SLOW


def one_at_a_time(seconds: float) -> Behaviour:
    """Makes a server that works on one reply at a time, for so long on each."""
    line = asyncio.Lock()

    async def behave(wire: Wire) -> None:
        async with line:
            await asyncio.sleep(seconds)
        await well(wire)

    return behave


async def late_copy(wire: Wire) -> None:
    """Replies, and sends the same once more a little later, when the connection may serve another request."""
    data = head(200, len(wire.body)) + wire.body
    await wire.write(data)
    asyncio.get_running_loop().call_later(0.003, _send_if_open, wire.writer, data)


def _send_if_open(writer: asyncio.StreamWriter, data: bytes) -> None:
    if not writer.is_closing():
        writer.write(data)


async def in_bytes(wire: Wire) -> None:
    """Replies in chunks of one byte."""
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in wire.body)
    await wire.write(head(200, transfer_encoding="chunked") + chunks + b"0\r\n\r\n")


def swapped() -> Behaviour:
    """Makes a server that gives each who asks the reply to the one before."""
    held = [b""]

    async def behave(wire: Wire) -> None:
        held[0], body = wire.body, held[0] or wire.body
        await wire.respond(body)

    return behave


def misdirected() -> dict[str, Behaviour]:
    """Ways in which a reply reaches another than the one who asked, or not as it was sent."""
    return {
        "a late copy": late_copy,
        "one byte a chunk": in_bytes,
        "cut": HTTP_FAULTS["cut off"],
        "doubled": broken(lambda wire: 2 * (head(200, len(wire.body)) + wire.body), lambda wire: None),
        "doubled inside": changed(lambda good: json.dumps(good).encode() * 2),
        "another's": swapped(),
    }


def by_chance(rate: float, faults: Mapping[str, Behaviour], seed: int = 0) -> Callable[[Call], Behaviour]:
    """Behaves badly with a probability, each way as likely as the other."""
    rng, ways = random.Random(seed), list(faults.values())
    return lambda call: rng.choice(ways) if rng.random() < rate else well
