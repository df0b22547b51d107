"""Requests to the fault server, and whether its replies are the right ones."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Sequence

from persona_env.models.chat import ChatReply, ChatRequest
from persona_env.models.chat_api import ChatClient
from persona_env.models.endpoint import Endpoint
from persona_env.models.faults import RemoteFault
from tests.models.behaviours import right_answer
from tests.models.fault_server import FaultProcess, FaultServer


def requests(number: int) -> list[ChatRequest]:
    """Requests of which no two have the same reply."""
    return [ChatRequest((("system", "Judge the line."), ("user", f"line {i}")), 32) for i in range(number)]


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def client(server: FaultServer | FaultProcess, request_timeout: float = 5.0, **settings: object) -> ChatClient:
    """A client of a server."""
    return ChatClient(Endpoint.parse(server.spec), request_timeout=request_timeout, **settings)  # type: ignore[arg-type]


def outcomes(replies: Sequence[ChatReply | RemoteFault]) -> Counter[str]:
    """Counts `right` and `wrong` replies to `requests`, and the kinds of faults."""
    counted = Counter[str]()
    for i, reply in enumerate(replies):
        right = isinstance(reply, ChatReply) and reply.text == right_answer(f"line {i}")
        counted["right" if right else "wrong" if isinstance(reply, ChatReply) else type(reply).__name__] += 1
    return counted
