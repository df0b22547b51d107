"""One connection to a server: HTTP/1.1 by `h11`, without redirects, proxies, cookies or logs."""

from __future__ import annotations

import asyncio
import contextlib
import select
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult

import h11

from persona_env.models.body import Body
from persona_env.models.faults import BadReply, NoConnection, Refused, Unreachable

__all__ = ["Connection", "Origin", "Response"]

_PIECE = 1 << 16
_HEADERS = 1 << 15
_STALE = 4.0  # servers commonly close what has been idle for 5 s; asking on such a connection fails


@dataclass(frozen=True, slots=True)
class Response:
    """What came back: the status, the header of a wait, and the body."""

    status: int
    retry_after: str
    body: bytes


class Origin:
    """Scheme, host and port to connect to.

    Args:
        parts: The base URL.
    """

    def __init__(self, parts: SplitResult):
        self.host, secure = parts.hostname or "", parts.scheme == "https"
        self.port = parts.port or (443 if secure else 80)
        self.target = f"{parts.path}/chat/completions"
        self.header = parts.netloc
        self._ssl = ssl.create_default_context() if secure else None

    async def connect(self) -> Connection:
        """Opens a connection.

        Raises:
            NoConnection: If there is none to be had.
            Refused: If the server cannot show who it is.
        """
        try:
            reader, writer = await asyncio.open_connection(self.host, self.port, ssl=self._ssl, limit=_PIECE)
        except ssl.SSLCertVerificationError:
            raise Refused("the server's certificate is not one that can be trusted", 0) from None
        except (OSError, UnicodeError) as error:
            raise NoConnection(f"no connection to the server ({type(error).__name__})") from None
        return Connection(reader, writer)


class Connection:
    """An open connection; after anything but a whole exchange it is not used again.

    Args:
        reader: What the server sends.
        writer: What it is sent.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self._reader, self._writer = reader, writer
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEADERS)
        self._used = time.monotonic()
        self._incoming = select.poll()
        self._incoming.register(writer.get_extra_info("socket").fileno(), select.POLLIN)

    @property
    def usable(self) -> bool:
        """Whether the next request may go over it: it is open, and nothing stands in it that was not asked for.

        A reply that was sent twice would else be taken for the next one. One that is still under way cannot be
        seen: no HTTP/1.1 client can.
        """
        pending: Any = getattr(self._reader, "_buffer", b"")
        return (
            self._http.our_state is h11.IDLE
            and not (pending or self._http.trailing_data[0])
            and not self._incoming.poll(0)
            and not (self._reader.at_eof() or self._writer.is_closing())
            and time.monotonic() - self._used < _STALE
        )

    async def exchange(self, target: str, headers: Mapping[str, str], sent: bytes, most: int) -> Response:
        """Sends a request and returns what came back.

        Args:
            target: The path.
            headers: Without the length.
            sent: The body.
            most: The most bytes of the reply's body.

        Raises:
            Unreachable: If the connection breaks before the response is whole.
            BadReply: If what comes is no HTTP, or cannot be unpacked.
            TooLarge: If it is too much.
        """
        try:
            request = h11.Request(
                method="POST", target=target, headers=[*headers.items(), ("content-length", str(len(sent)))]
            )
            begin, end = self._http.send(request), self._http.send(h11.Data(sent))
            self._http.send(h11.EndOfMessage())
            self._writer.write((begin or b"") + (end or b""))
            await self._writer.drain()
            return await self._response(most)
        except (OSError, EOFError) as error:
            raise Unreachable(f"the connection broke ({type(error).__name__})") from None
        except h11.RemoteProtocolError:
            raise self._broken() from None

    async def close(self) -> None:
        """Closes it at once."""
        self._writer.transport.abort()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _response(self, most: int) -> Response:
        head = await self._event()
        while isinstance(head, h11.InformationalResponse):
            head = await self._event()
        if not isinstance(head, h11.Response):
            raise Unreachable("the connection closed before a reply")
        found = {name.decode("ascii", "replace"): value.decode("ascii", "replace") for name, value in head.headers}
        body = Body(most, found.get("content-encoding", ""))
        while isinstance(event := await self._event(), h11.Data):
            body.add(bytes(event.data))
        response = Response(head.status_code, found.get("retry-after", ""), body.finish())
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        self._used = time.monotonic()
        return response

    async def _event(self) -> object:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            self._http.receive_data(await self._reader.read(_PIECE))

    def _broken(self) -> Unreachable | BadReply:
        if self._reader.at_eof():
            return Unreachable("the connection closed before the reply was whole")
        return BadReply("the reply is no HTTP")
