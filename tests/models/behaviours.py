"""Ways in which a chat server can misbehave, and the one in which it does not."""

from __future__ import annotations

import asyncio
import functools
import gzip
import json
import random
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
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
    open: bool = field(default=True)

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
    return json.dumps(
        {"answer": "AB"[sha256(prompt.encode()).digest()[0] % 2], "of": sha256(prompt.encode()).hexdigest()}
    )


def completion(text: Any, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    return {"id": "x", "object": "chat.completion", "created": 1, "choices": [choice], "usage": usage, **more}


async def well(wire: Wire) -> None:
    await wire.respond(wire.body)


def status(code: int, **headers: str) -> Behaviour:
    async def behave(wire: Wire) -> None:
        await wire.respond(b'{"error": {"message": "no"}}', code, **headers)

    return behave


async def reset(wire: Wire) -> None:
    wire.reset()


async def close(wire: Wire) -> None:
    wire.close()


async def reset_in_body(wire: Wire) -> None:
    await wire.write(head(200, len(wire.body)) + wire.body[:40])
    wire.reset()


async def cut_off(wire: Wire) -> None:
    await wire.write(head(200, len(wire.body)) + wire.body[:-7])
    wire.close()


async def cut_chunk(wire: Wire) -> None:
    await wire.write(head(200, transfer_encoding="chunked") + b"%x\r\n" % len(wire.body) + wire.body[:-9])
    wire.close()


async def no_end(wire: Wire) -> None:
    await wire.write(head(200, connection="close") + wire.body[:-9])
    wire.close()


async def no_http(wire: Wire) -> None:
    await wire.write(b"220 mail.example ESMTP ready\r\n\r\n")
    wire.close()


async def hang(wire: Wire) -> None:
    while not wire.reader.at_eof():
        await asyncio.sleep(0.02)


async def drip(wire: Wire) -> None:
    await wire.write(head(200, len(wire.body)))
    for byte in wire.body:
        await wire.write(bytes([byte]))
        await asyncio.sleep(0.05)


async def drip_headers(wire: Wire) -> None:
    for byte in head(200, len(wire.body)):
        await wire.write(bytes([byte]))
        await asyncio.sleep(0.05)


HTTP_FAULTS: dict[str, Behaviour] = {
    "status 500": status(500),
    "status 502": status(502),
    "status 503": status(503),
    "status 504": status(504),
    "status 429": status(429),
    "status 429 with a wait": status(429, retry_after="0.05"),
    "status 408": status(408),
    "reset": reset,
    "closed": close,
    "reset in the body": reset_in_body,
    "cut off": cut_off,
    "cut chunk": cut_chunk,
    "no end": no_end,
    "no HTTP": no_http,
}


def raw(body: bytes, encoding: str = "identity") -> Behaviour:
    async def behave(wire: Wire) -> None:
        await wire.respond(body, content_encoding=encoding)

    return behave


def changed(change: Callable[[dict[str, Any]], Any]) -> Behaviour:
    """Replies with what `change` makes of a right completion."""

    async def behave(wire: Wire) -> None:
        made = change(json.loads(wire.body))
        await wire.respond(made if isinstance(made, bytes) else json.dumps(made).encode())

    return behave


def _choice(**fields: Any) -> Behaviour:
    return changed(lambda good: {**good, "choices": [{**good["choices"][0], **fields}]})


def _content(text: Any) -> Behaviour:
    return _choice(message={"role": "assistant", "content": text})


def _twice(good: dict[str, Any]) -> bytes:
    return json.dumps(good).encode()[:-1] + b', "choices": ' + json.dumps(good["choices"]).encode() + b"}"


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
    "a key twice": changed(_twice),
    "1e999": changed(lambda good: json.dumps({**good, "created": 5}).encode().replace(b"5", b"1e999", 1)),
    "NaN": changed(lambda good: {**good, "created": float("nan")}),
    "a huge number": changed(lambda good: {**good, "created": 10**400}),
    "half a surrogate pair": _content("\ud800"),
    "no UTF-8": raw(b'{"choices": "\xff\xfe"}'),
    "UTF-16": changed(lambda good: json.dumps(good).encode("utf-16")),
    "empty content": _content(""),
    "blank content": _content(" \n\t"),
    "null content": _content(None),
    "content in parts": _content([{"type": "text", "text": "A"}]),
    "content of another type": _content(1),
    "no message": _choice(message=None),
    "another role": _choice(message={"role": "user", "content": '{"answer": "A"}'}),
    "a filtered reply": _choice(finish_reason="content_filter"),
    "no finish_reason": _choice(finish_reason=None),
    "a tool call": _choice(message={"role": "assistant", "content": "A", "tool_calls": [{"id": "1"}]}),
    "impossible usage": changed(lambda good: {**good, "usage": {"prompt_tokens": -1, "completion_tokens": 1.5}}),
    "more after the end": changed(lambda good: json.dumps(good).encode() * 2),
    "nested too deep": raw(b"[" * 50_000),
    "broken gzip": raw(b"\x1f\x8b not gzip", encoding="gzip"),
    "gzip cut off": raw(gzip.compress(b"{}" * 50)[:-9], encoding="gzip"),
    "an encoding of its own": raw(b"{}", encoding="br"),
    "an event stream": raw(b'data: {"choices": []}\n\ndata: [DONE]\n\n'),
    "another status": status(204),
}


@functools.cache
def _packed_bomb() -> bytes:
    return gzip.compress(bytes(200 << 20), 1)


async def gzip_bomb(wire: Wire) -> None:
    await wire.respond(_packed_bomb(), content_encoding="gzip")


async def plain_bomb(wire: Wire) -> None:
    await wire.write(head(200, 200 << 20))
    for _ in range(200 << 4):
        await wire.write(b" " * (1 << 16))


async def endless_chunks(wire: Wire) -> None:
    await wire.write(head(200, transfer_encoding="chunked"))
    while True:
        await wire.write(b"1000\r\n" + b" " * 4096 + b"\r\n")


async def endless_headers(wire: Wire) -> None:
    await wire.write(b"HTTP/1.1 200 X\r\n")
    while True:
        await wire.write(b"x: " + b"y" * 4096 + b"\r\n")


async def no_line_end(wire: Wire) -> None:
    while True:
        await wire.write(b"HTTP/1.1 200 " + b"X" * 65536)


BOMBS: dict[str, Behaviour] = {
    "gzip bomb": gzip_bomb,
    "200 MB": plain_bomb,
    "endless chunks": endless_chunks,
    "endless headers": endless_headers,
    "a line without end": no_line_end,
}
SLOW: dict[str, Behaviour] = {"hang": hang, "drip": drip, "drip headers": drip_headers}
ALL = {"well": well} | HTTP_FAULTS | BAD_BODIES | BOMBS | SLOW


def by_chance(rate: float, faults: Mapping[str, Behaviour], seed: int = 0) -> Callable[[Call], Behaviour]:
    """Behaves badly with a probability, each way as likely as the other."""
    rng, ways = random.Random(seed), list(faults.values())
    return lambda call: rng.choice(ways) if rng.random() < rate else well
