"""The way to a server: connections that are kept, a deadline, and a typed fault for whatever goes wrong."""

from __future__ import annotations

import asyncio
import math
import time
from email.utils import parsedate_to_datetime

from persona_env.models.connection import Connection, Origin, Response
from persona_env.models.endpoint import Endpoint, api_key
from persona_env.models.faults import BadReply, Overloaded, Refused, ServerError, TimedOut

__all__ = ["Channel"]

_FOR_ALL = 1 << 16
_FOR_A_TOKEN = 256
_SHORTEST_KEY = 8


class Channel:
    """Sends bodies to a server and returns those of its replies.

    Args:
        endpoint: The server.
        deadline: Seconds for one exchange, connecting included.
    """

    def __init__(self, endpoint: Endpoint, deadline: float):
        key = api_key()
        self._origin, self._deadline = Origin(endpoint.parts), deadline
        self._headers = {
            "host": self._origin.header,
            "accept": "application/json",
            "accept-encoding": "identity",
            "content-type": "application/json",
            "user-agent": "persona-env",
        }
        if key:
            self._headers["authorization"] = f"Bearer {key}"
        self._secret = key if len(key) >= _SHORTEST_KEY else ""
        self._idle = list[Connection]()

    async def post(self, sent: bytes, max_tokens: int) -> bytes:
        """Returns the body of the reply to a body.

        Args:
            sent: The body of the request.
            max_tokens: From which follows how large a reply may be.

        Raises:
            RemoteFault: Of the kind that says what went wrong; its message holds nothing that was received.
        """
        connection = None
        try:
            async with asyncio.timeout(self._deadline):
                connection = await self._connection()
                most = _FOR_ALL + _FOR_A_TOKEN * max_tokens
                response = await connection.exchange(self._origin.target, self._headers, sent, most)
        except TimeoutError:
            raise TimedOut(f"no whole reply within {self._deadline:g} s") from None
        finally:
            await self._put_back(connection)
        return self._checked(response)

    def holds_key(self, text: str) -> bool:
        """Whether the key that was sent stands in a text; one of a few letters may do so by chance."""
        return bool(self._secret) and self._secret in text

    async def close(self) -> None:
        """Closes what is open."""
        while self._idle:
            await self._idle.pop().close()

    def forked(self) -> None:
        """In a forked child: leaves the connections to the parent."""
        self._idle = []

    async def _connection(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
            await connection.close()
        return await self._origin.connect()

    async def _put_back(self, connection: Connection | None) -> None:
        if connection is not None and connection.usable:
            self._idle.append(connection)
        elif connection is not None:
            await connection.close()

    def _checked(self, response: Response) -> bytes:
        status, wait = response.status, _seconds(response.retry_after)
        if status == 200:
            return response.body
        if status in (429, 529) or (status == 503 and wait is not None):
            raise Overloaded(f"the server asked for patience (status {status})", wait)
        if status >= 500 or status in (408, 425):
            raise ServerError(f"the server failed (status {status})", status)
        if 200 < status < 300:
            raise BadReply(f"the reply has the status {status} instead of 200")
        what = "sent elsewhere" if status < 400 else "refused"
        raise Refused(f"the request was {what} (status {status}){_ADVICE.get(status, '')}", status)


_ADVICE = {
    401: ": put a valid key into OPENAI_API_KEY",
    403: ": the key in OPENAI_API_KEY may not use this",
    404: ": no such model or base_url",
}


def _seconds(retry_after: str) -> float | None:
    """Returns the seconds that a Retry-After header asks for; None if it says nothing that can be read."""
    text = retry_after.strip()[:64]
    try:
        seconds = float(text) if text[:1].isdigit() else parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None
