"""What can go wrong with a server, each with a name; none holds a key, a password or a whole body."""

from __future__ import annotations

from collections.abc import Mapping

from persona_env.errors import RunEnded
from persona_env.models.chat import ChatReply

__all__ = [
    "BadReply",
    "NoConnection",
    "Overloaded",
    "Quarantined",
    "Refused",
    "RemoteFault",
    "ServerError",
    "TimedOut",
    "TooLarge",
    "TooLong",
    "Unavailable",
    "Unreachable",
]


class RemoteFault(Exception):  # noqa: N818 - named by what happened
    """A server did not do what it was asked for.

    Attributes:
        again: Whether to ask again may help.
    """

    again = True


class Unreachable(RemoteFault):
    """There was no connection, or it broke before the reply was whole."""


class NoConnection(Unreachable):
    """Nothing could be sent: nobody listens, no such host, no route."""


class TimedOut(RemoteFault):
    """The whole reply was not there when its deadline had passed."""


class Overloaded(RemoteFault):
    """The server asked for patience (429, or 503 with Retry-After).

    Attributes:
        wait: The seconds it asked for; None where it named none.
    """

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class ServerError(RemoteFault):
    """The server failed (any other 5xx, or 408 or 425).

    Attributes:
        status: The HTTP status.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class TooLarge(RemoteFault):
    """The reply had more bytes than one may have."""


class BadReply(RemoteFault):
    """The reply is not one that can be used: not the JSON of a chat completion, or not what was asked for."""


class Refused(RemoteFault):
    """The server will not answer this (any other 4xx, or a redirect), or may not be told: it is not asked again.

    Attributes:
        status: The HTTP status; 0 where its certificate cannot be trusted.
    """

    again = False

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class TooLong(RemoteFault):
    """The prompt is longer than the server takes; it was not sent."""

    again = False


class Quarantined(RemoteFault):
    """The request went down with the server more than once; it is not sent again."""

    again = False


class Unavailable(RemoteFault, RunEnded):
    """The server stayed down longer than one was ready to wait.

    Attributes:
        replies: What had been replied by then, by the place of the request.
    """

    again = False
    exit_code = 75

    def __init__(self, message: str, replies: Mapping[int, ChatReply] | None = None) -> None:
        super().__init__(message)
        self.replies = dict(replies or {})
