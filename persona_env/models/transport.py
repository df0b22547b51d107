"""One exchange with a server over aiohttp: bounded in time and bytes, and a typed fault for whatever goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import math
import ssl
import time
import urllib.request
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from persona_env.models.endpoint import Endpoint
from persona_env.models.faults import AccessDenied, BadReply, NoConnection, TimedOut, Unreachable
from persona_env.models.refusals import Refusal

__all__ = ["Transport"]

_BYTES, _BYTES_PER_TOKEN = 1 << 16, 256
_BYTES_OF_ERROR = 1 << 14
_CONNECT = 10.0  # seconds for a connection
_SHORTEST_KEY = 8  # a shorter one may stand in a reply by chance
_KEEP_ALIVE = 4.0  # servers commonly close what has been idle for 5 s; asking on such a connection fails
_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
    "User-Agent": "persona-env",
}


class Transport:
    """Sends bodies to a server and returns those of its replies.

    One exchange takes at most `request_timeout` s, counted from the last reply that came to any: what waits its turn at
    a slow server is not given up while that works. Connections are used again if `reuses_connections`, and only until
    something unexpected came on one: what is left on it would be taken for the next reply.
    """

    def __init__(self, endpoint: Endpoint, request_timeout: float, reuses_connections: bool = True):
        self._base_url, self._key_env, self._timeout = endpoint.base_url, endpoint.options.key_env, request_timeout
        headers, parameters = list(endpoint.options.headers()), list(endpoint.options.parameters())
        secrets = [value for _, value, is_secret in headers + parameters if is_secret]
        self._is_withheld = bool(secrets) and not endpoint.may_get_key
        self._secrets = () if self._is_withheld else tuple(secret.removeprefix("Bearer ") for secret in secrets)
        self._headers, sent = (
            {name: value for name, value, is_secret in found if not (is_secret and self._is_withheld)}
            for found in (headers, parameters)
        )
        query = f"?{urlencode(sent)}" if sent else ""
        self._url = URL(f"{endpoint.base_url}/chat/completions{query}", encoded=True)
        self._proxy = None if endpoint.is_loopback else _proxy(self._url)
        self._reuses, self._answered_at = reuses_connections, 0.0
        self._sessions = list[aiohttp.ClientSession]()  # new requests use the last

    async def post(self, body: bytes, max_tokens: int) -> bytes:
        """Returns the body of the reply to a body; `max_tokens` says how large it may be.

        What goes wrong is a `RemoteFault`, or `AccessDenied` where the server takes no request at all.
        """
        if not self._sessions:
            self._sessions.append(self._open())
        try:
            async with self._patience():
                found = await self._exchange(self._sessions[-1], body, _BYTES + _BYTES_PER_TOKEN * max_tokens)
                self._answered_at = asyncio.get_running_loop().time()
                return found
        except aiohttp.ConnectionTimeoutError:
            raise NoConnection(f"no connection to the server within {_CONNECT:g} s") from None
        except TimeoutError:
            raise TimedOut(f"no whole reply within {self._timeout:g} s") from None
        except aiohttp.ClientConnectorCertificateError:
            raise AccessDenied(
                f"Expected a certificate of {self._base_url} that can be trusted, got another: "
                "put the authority that signed it into SSL_CERT_FILE."
            ) from None
        except aiohttp.ClientConnectorError as error:
            if isinstance(error, aiohttp.ClientConnectorDNSError) and not self._answered_at:
                raise AccessDenied(
                    f"Expected a server at {self._base_url}, got no such host: correct the address, or connect this "
                    "machine, then resume."
                ) from None
            raise NoConnection(f"no connection to the server ({type(error.os_error).__name__})") from None
        except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError, OSError) as error:
            raise Unreachable(f"the connection broke ({type(error).__name__})") from None
        except aiohttp.ClientError:
            raise BadReply("the reply is no HTTP") from None

    def holds_key(self, text: str) -> bool:
        """Returns whether a key that was sent stands in a text."""
        return any(len(secret) >= _SHORTEST_KEY and secret in text for secret in self._secrets)

    def stop_reusing(self) -> None:
        """Sends each request on a connection of its own from now on."""
        if self._reuses:
            self._reuses = False
            self._sessions.append(self._open())

    async def close(self) -> None:
        """Closes the connections."""
        for session in self._sessions:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        secure = ssl.create_default_context() if self._url.scheme == "https" else True
        lasts: dict[str, Any] = {"keepalive_timeout": _KEEP_ALIVE} if self._reuses else {"force_close": True}
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=secure, **lasts),
            headers={**_HEADERS, **self._headers},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT, ceil_threshold=math.inf),
        )

    async def _exchange(self, session: aiohttp.ClientSession, body: bytes, most: int) -> bytes:
        async with session.post(self._url, data=body, allow_redirects=False, proxy=self._proxy) as response:
            found = await (_read(response, most) if response.status == 200 else _error_body(response))
            if response.status != 200 or b'"error"' in found:
                refusal = Refusal.read(response.status, found, self._secrets)
                if refusal is not None:
                    self._raise_for(refusal, response.headers.get("Retry-After", ""))
            return found

    @contextlib.asynccontextmanager
    async def _patience(self) -> AsyncIterator[None]:
        """Raises TimeoutError where nothing is answered for so long, to this request or to any other."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(None) as limit:

            def look(since: float) -> None:
                nonlocal timer
                if self._answered_at > since:
                    timer = loop.call_at(self._answered_at + self._timeout, look, self._answered_at)
                else:
                    limit.reschedule(loop.time())

            timer = loop.call_later(self._timeout, look, loop.time())
            try:
                yield
            finally:
                timer.cancel()

    def _raise_for(self, refusal: Refusal, retry_after: str) -> None:
        says = f" It says: {refusal.said}" if refusal.said else ""
        if refusal.status in (401, 403) and not refusal.is_filter:
            way = f"put a valid key into {self._key_env}"
            if self._is_withheld:
                way = "the key is not sent over plain http to another machine, use https"
            got = f"got status {refusal.status}: {way}, then resume.{says}"
            raise AccessDenied(f"Expected {self._base_url} to accept the key, {got}")
        if refusal.is_for_good:
            got = f"got status {refusal.status}: pay for more, then resume.{says}"
            raise AccessDenied(f"Expected {self._base_url} to have credit left for the key, {got}")
        raise refusal.fault(_seconds(retry_after))


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes:
    """Returns a body of at most so many bytes; stops reading where there are more."""
    if response.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise BadReply("the reply is packed, which was not asked for")
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > most:
            raise BadReply(f"the reply has more than {most} bytes")
    return bytes(body)


async def _error_body(response: aiohttp.ClientResponse) -> bytes:
    """Returns what came with an error, if it is short enough to be read."""
    with contextlib.suppress(BadReply):
        return await _read(response, _BYTES_OF_ERROR)
    return b""


def _proxy(url: URL) -> str | None:
    """Returns the proxy that the environment names for a URL; aiohttp's `trust_env` would send passwords of .netrc."""
    host = url.host or ""
    return None if urllib.request.proxy_bypass(host) else urllib.request.getproxies().get(url.scheme)


def _seconds(retry_after: str) -> float | None:
    """Returns the seconds that a Retry-After header asks for; None if it says nothing that can be read."""
    text = retry_after.strip()[:64]
    try:
        seconds = float(text) if text[:1].isdigit() else parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None
