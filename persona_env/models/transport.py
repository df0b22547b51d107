"""One exchange with a server over aiohttp: bounded in time and bytes, and a typed fault for whatever goes wrong."""

from __future__ import annotations

import math
import ssl
import time
import urllib.request
from email.utils import parsedate_to_datetime

import aiohttp
from yarl import URL

from persona_env.models.endpoint import Endpoint, api_key
from persona_env.models.faults import (
    AccessDenied,
    BadReply,
    NoConnection,
    Overloaded,
    Refused,
    ServerError,
    TimedOut,
    Unreachable,
)

__all__ = ["Transport"]

_BYTES, _BYTES_PER_TOKEN = 1 << 16, 256
_SHORTEST_KEY = 8  # a shorter one may stand in a reply by chance
_KEEP_ALIVE = 4.0  # servers commonly close what has been idle for 5 s; asking on such a connection fails
_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
    "User-Agent": "persona-env",
}


class Transport:
    """Sends bodies to a server and returns those of its replies; one exchange takes at most `request_timeout` s."""

    def __init__(self, endpoint: Endpoint, request_timeout: float):
        self._url, self._timeout = URL(f"{endpoint.base_url}/chat/completions", encoded=True), request_timeout
        self._base_url, key = endpoint.base_url, api_key()
        self._is_withheld = bool(key) and not endpoint.may_get_key
        self._key = "" if self._is_withheld else key
        self._proxy = None if endpoint.is_loopback else _proxy(self._url)
        self._session: aiohttp.ClientSession | None = None

    async def post(self, body: bytes, max_tokens: int) -> bytes:
        """Returns the body of the reply to a body; `max_tokens` says how large it may be.

        What goes wrong is a `RemoteFault`, or `AccessDenied` where the server takes no request at all.
        """
        if self._session is None:
            self._session = self._open()
        try:
            async with self._session.post(self._url, data=body, allow_redirects=False, proxy=self._proxy) as response:
                if response.status != 200:
                    self._raise_for(response.status, response.headers.get("Retry-After", ""))
                return await _read(response, _BYTES + _BYTES_PER_TOKEN * max_tokens)
        except TimeoutError:
            raise TimedOut(f"no whole reply within {self._timeout:g} s") from None
        except aiohttp.ClientConnectorCertificateError:
            raise AccessDenied(
                f"Expected a certificate of {self._base_url} that can be trusted, got another: "
                "put the authority that signed it into SSL_CERT_FILE."
            ) from None
        except aiohttp.ClientConnectorError as error:
            raise NoConnection(f"no connection to the server ({type(error.os_error).__name__})") from None
        except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError, OSError) as error:
            raise Unreachable(f"the connection broke ({type(error).__name__})") from None
        except aiohttp.ClientError:
            raise BadReply("the reply is no HTTP") from None

    def holds_key(self, text: str) -> bool:
        """Returns whether the key that was sent stands in a text."""
        return len(self._key) >= _SHORTEST_KEY and self._key in text

    async def close(self) -> None:
        """Closes the connections."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        secure = ssl.create_default_context() if self._url.scheme == "https" else True
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE, ssl=secure),
            headers={**_HEADERS, **({"Authorization": f"Bearer {self._key}"} if self._key else {})},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=self._timeout, ceil_threshold=math.inf),
        )

    def _raise_for(self, status: int, retry_after: str) -> None:
        wait = _seconds(retry_after)
        if status in (429, 529) or (status == 503 and wait is not None):
            raise Overloaded(f"the server asked for fewer requests (status {status})", wait)
        if status >= 500 or status in (408, 425):
            raise ServerError(status)
        if status in (401, 403):
            way = "put a valid key into OPENAI_API_KEY"
            if self._is_withheld:
                way = "the key is not sent over plain http to another machine, use https"
            raise AccessDenied(f"Expected {self._base_url} to accept the key, got status {status}: {way}, then resume.")
        if status < 300:
            raise BadReply(f"the reply has the status {status} instead of 200")
        advice = ": no such model or base_url" if status == 404 else ""
        raise Refused(f"the request was {'redirected' if status < 400 else 'refused'} (status {status}){advice}")


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
