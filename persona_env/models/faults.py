"""What can go wrong with a request, as values that a client returns.

None holds a key. Only what a server says about a request that it refuses is repeated, in one short printable line.
"""

from __future__ import annotations

from persona_env.errors import RunEnded

__all__ = [
    "AccessDenied",
    "BadReply",
    "Filtered",
    "NoConnection",
    "NoText",
    "Overloaded",
    "Refused",
    "RemoteFault",
    "ServerError",
    "TimedOut",
    "TooLong",
    "Unavailable",
    "Unreachable",
    "WrongForm",
]


class RemoteFault(Exception):  # noqa: N818 - named by what happened
    """A server did not do what it was asked for."""

    is_lasting = False  # asking again changes little: it is asked twice at most
    counts = True  # whether it says something about the request rather than about the server


class Unreachable(RemoteFault):
    """The connection broke before the reply was whole."""


class NoConnection(Unreachable):
    """Nothing could be sent: nobody listens, no such host, no route."""


class TimedOut(RemoteFault):
    """The whole reply was not there within `request_timeout`."""


class Overloaded(RemoteFault):
    """The server asks for fewer requests (429, 529, or 503 with Retry-After), and to wait so many seconds, or None."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class ServerError(RemoteFault):
    """The server failed (any other 5xx, 408 or 425); `is_gateway` where a gateway cannot reach it (502 to 504)."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the server failed (status {status})")
        self.is_gateway = status in (502, 503, 504)


class BadReply(RemoteFault):
    """The reply cannot be used: it is no chat completion, too large, or not what was asked for."""


class WrongForm(BadReply):
    """The reply is whole, but not of the form that was asked for."""

    is_lasting = True


class NoText(WrongForm):
    """The reply says nothing, as where a thought took all the room."""


class Filtered(RemoteFault):
    """A content filter withheld the reply, or the model refused to give one."""

    is_lasting = True


class Refused(RemoteFault):
    """The server will not answer this request (any other 4xx); `said` is its own message, as short as it is shown."""

    is_lasting = True

    def __init__(self, message: str, status: int, said: str = "") -> None:
        super().__init__(f"{message}: {said}" if said else message)
        self.status, self.said = status, said


class TooLong(RemoteFault):
    """The prompt has more than `max_prompt_chars`; it was not sent."""


class Unavailable(RunEnded):
    """The server was away longer than `outage_timeout`."""

    exit_code = 75


class AccessDenied(Unavailable):
    """The server takes no request at all: a wrong key, model or address, or a certificate that cannot be trusted."""
