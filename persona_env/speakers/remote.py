"""A model behind an OpenAI-compatible server that talks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from persona_env.conversation import View
from persona_env.errors import RunEnded
from persona_env.models.chat import ChatReply, ChatRequest
from persona_env.models.chat_api import ChatClient
from persona_env.models.endpoint import Endpoint
from persona_env.models.faults import Filtered, NoText, Refused, RemoteFault, TooLong
from persona_env.models.limits import ModelResources, Usage
from persona_env.models.request_options import sampling_temperature
from persona_env.settings import number
from persona_env.speakers.base import Speaker, withheld_line
from persona_env.speakers.own_line import own_line

__all__ = ["NoLine", "RemoteSpeaker", "load_remote"]

_MOST_WITHHELD = 64  # lines in a row
_NOTHING = "..."  # stands for a line without text: many servers refuse messages that are empty


class NoLine(RunEnded):
    """A server gave no line, or withheld too many; none is invented."""

    exit_code = 75


class RemoteSpeaker(Speaker):
    """Talks through a chat server (`openai:<model>@<base_url>`): all views of a call are in flight together.

    The persona is the chat's `system`, own lines are its `assistant`, incoming ones its `user`; as with local models a
    line is the reply up to where it goes on for the other side. Many chat templates let no `assistant` begin, so a side
    that opens the dialogue gets a greeting first. The view's seed is sent along, but replies are equal in distribution
    only.

    A line that a filter withholds, that the server refuses or that ends within a thought is an empty one of a simulator
    and the role's stock line of a task agent, with the note `filtered`. Too many in a row end the run in order.

    Example:
        `RemoteSpeaker(ChatClient(Endpoint.parse("some-model@http://127.0.0.1:8000/v1"), reuses_connections=False))`
    """

    is_remote = True

    def __init__(self, client: ChatClient, temperature: float | str | None = 1.0, max_tokens: int | str = 128):
        self.client, self.temperature = client, sampling_temperature(temperature)
        self.max_tokens = number("max_tokens", max_tokens, int, ge=1)
        self._withheld = 0

    @property
    def identity(self) -> Mapping[str, Any]:
        """The model, its server and how it is asked; never a key."""
        return {
            "kind": "openai",
            **self.client.endpoint.identity,
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
        return [self._line(view, reply) for view, reply in zip(views, replies, strict=True)]

    def _line(self, view: View, reply: ChatReply | RemoteFault) -> str:
        if isinstance(reply, ChatReply):
            self._withheld = 0
            return own_line(reply.text, view)
        self._withheld += 1
        if self._withheld >= _MOST_WITHHELD or not isinstance(reply, Filtered | NoText | Refused | TooLong):
            raise NoLine(
                f"Expected a line from {self.client.endpoint.model}, got none, {self._withheld} in a row ({reply}): "
                "look at the server and the spec's options, then resume."
            )
        return withheld_line(view)

    def _request(self, view: View) -> ChatRequest:
        chat = [(message["role"], message["content"]) for message in view.chat()]
        chat[1:] = [(role, text if text.strip() else _NOTHING) for role, text in chat[1:]]
        if len(chat) == 1 or chat[1][0] == "assistant":
            chat.insert(1, ("user", "Hello."))
        return ChatRequest(tuple(chat), self.max_tokens, self.temperature, view.seed)


def load_remote(rest: str, *, temperature: Any = 1.0, max_tokens: Any = 128, **options: str) -> RemoteSpeaker:
    """Makes the speaker of a spec, from what stands behind `openai:`; raises InputError if it names no endpoint.

    A line cannot show whose it is, so each request has a connection of its own.
    """
    client = ChatClient(Endpoint.parse(rest, options), reuses_connections=False)
    return RemoteSpeaker(client, temperature, max_tokens)
