"""A model behind an OpenAI-compatible server that talks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from persona_env.conversation import View
from persona_env.errors import RunEnded
from persona_env.models.chat import ChatRequest
from persona_env.models.chat_api import ChatClient
from persona_env.models.endpoint import Endpoint
from persona_env.models.faults import RemoteFault
from persona_env.models.limits import ModelResources, Usage
from persona_env.settings import number
from persona_env.speakers.base import Speaker

__all__ = ["NoLine", "RemoteSpeaker", "load_remote"]


class NoLine(RunEnded):
    """A server gave no line; none is invented."""

    exit_code = 75


class RemoteSpeaker(Speaker):
    """Talks through a chat server (`openai:<model>@<base_url>`): all views of a call are in flight together.

    The persona is the chat's `system`, own lines are its `assistant`, incoming ones its `user`; as with local models a
    line is the whole reply, stripped. Many chat templates let no `assistant` begin, so a side that opens the dialogue
    gets a greeting first. The view's seed is sent along, but replies are equal in distribution only.

    Example:
        `RemoteSpeaker(ChatClient(Endpoint.parse("some-model@http://127.0.0.1:8000/v1")))`
    """

    def __init__(self, client: ChatClient, temperature: float = 1.0, max_tokens: int = 128):
        self.client = client
        self.temperature = number("temperature", temperature, float, ge=0)
        self.max_tokens = number("max_tokens", max_tokens, int, ge=1)

    @property
    def identity(self) -> Mapping[str, Any]:
        """The model, its server and how it is asked; never a key."""
        return {
            "kind": "openai",
            "model": self.client.endpoint.model,
            "base_url": self.client.endpoint.base_url,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        }

    @property
    def usage(self) -> Usage:
        """See `Speaker.usage`."""
        return self.client.usage

    def use(self, resources: ModelResources) -> None:
        """See `Speaker.use`."""
        self.client.use(resources)

    def close(self) -> None:
        """Closes the client's connections."""
        self.client.close()

    def reply(self, views: Sequence[View]) -> list[str]:
        """Returns the next line for each view; raises NoLine if the server gave none, Unavailable if it stays down."""
        replies = self.client.complete([self._request(view) for view in views])
        lines: list[str] = []
        for reply in replies:
            if isinstance(reply, RemoteFault):
                raise NoLine(
                    f"Expected {len(views)} lines from {self.client.endpoint.model}, got none for one of them "
                    f"({reply}): look at the server, then resume."
                )
            lines.append(reply.text.strip())
        return lines

    def _request(self, view: View) -> ChatRequest:
        chat = [(message["role"], message["content"]) for message in view.chat()]
        if len(chat) == 1 or chat[1][0] == "assistant":
            chat.insert(1, ("user", "Hello."))
        return ChatRequest(tuple(chat), self.max_tokens, self.temperature, view.seed)


def load_remote(rest: str, *, temperature: Any = 1.0, max_tokens: Any = 128) -> RemoteSpeaker:
    """Makes the speaker of a spec, from what stands behind `openai:`; raises InputError if it names no endpoint."""
    return RemoteSpeaker(ChatClient(Endpoint.parse(rest)), temperature, max_tokens)
