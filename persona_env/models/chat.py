"""What a chat model is asked, and its reply, read strictly: what is not exactly one finished message is no reply."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from persona_env.errors import InputError
from persona_env.models.faults import BadReply

__all__ = ["ChatReply", "ChatRequest", "read_reply", "read_usage"]

_ROLES = ("system", "user", "assistant")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One chat that a model is to go on with; an `InputError` if it cannot be asked."""

    messages: tuple[tuple[str, str], ...]  # (role, text), oldest first; roles are `system`, `user` and `assistant`
    max_tokens: int
    temperature: float = 0.0  # 0 asks for the likeliest token; no server promises to give the same twice
    seed: int | None = None  # >= 0; None leaves it to the server
    schema: Mapping[str, Any] | None = None  # a JSON schema that the reply is to keep; a server may ignore it

    def __post_init__(self) -> None:
        if not self.messages or any(role not in _ROLES for role, _ in self.messages):
            raise InputError(f"Expected messages with roles {', '.join(_ROLES)}, got none or others: name these.")
        if self.max_tokens < 1 or not 0 <= self.temperature < math.inf or (self.seed is not None and self.seed < 0):
            raise InputError(
                f"Expected max_tokens >= 1 and temperature and seed >= 0, got {self.max_tokens}, {self.temperature} "
                f"and {self.seed}: correct them."
            )

    @property
    def fields(self) -> dict[str, Any]:
        """All that is asked, as the fields of the HTTP request; the model is not among them."""
        fields: dict[str, Any] = {
            "messages": [{"role": role, "content": text} for role, text in self.messages],
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "stream": False,
        }
        if self.seed is not None:
            fields["seed"] = self.seed
        if self.schema is not None:
            form = {"name": "reply", "schema": dict(self.schema), "strict": True}
            fields["response_format"] = {"type": "json_schema", "json_schema": form}
        return fields

    def body(self, model: str) -> bytes:
        """Returns the body of the HTTP request; half of a surrogate pair in a text is an `InputError`."""
        try:
            return json.dumps({"model": model, **self.fields}, ensure_ascii=False, separators=(",", ":")).encode()
        except UnicodeEncodeError:
            raise InputError("Expected texts that UTF-8 can hold, got half of a surrogate pair: clean them.") from None


@dataclass(frozen=True, slots=True)
class ChatReply:
    """What a model replied; tokens are as the server counts them, or where it does not, one for every 4 bytes."""

    text: str  # never blank
    finish_reason: str  # `stop`, or `length` where it was cut at `max_tokens`
    prompt_tokens: int
    completion_tokens: int


_Count = Annotated[int, Meta(ge=0, le=100_000_000)] | None


class _Usage(Struct):
    prompt_tokens: _Count = None
    completion_tokens: _Count = None


class _Counted(Struct, kw_only=True):
    usage: _Usage | None = None


class _Message(Struct):
    content: Annotated[str, Meta(pattern=r"\S")]
    role: Literal["assistant"] = "assistant"
    tool_calls: Annotated[list[Any], Meta(max_length=0)] | None = None
    refusal: Literal[""] | None = None


class _Choice(Struct):
    message: _Message
    finish_reason: Literal["stop", "length"]
    index: Literal[0] = 0


class _Completion(_Counted, kw_only=True):
    choices: Annotated[list[_Choice], Meta(min_length=1, max_length=1)]
    error: None = None


_COUNTED, _COMPLETION = msgspec.json.Decoder(_Counted), msgspec.json.Decoder(_Completion)


def read_usage(body: bytes) -> tuple[int, int]:
    """Returns the tokens of prompt and reply that a body counts, 0 where it counts none; else raises BadReply."""
    usage = _decoded(_COUNTED, body).usage or _Usage()
    return usage.prompt_tokens or 0, usage.completion_tokens or 0


def read_reply(body: bytes, sent: bytes) -> ChatReply:
    """Returns the reply in a body, if it is exactly one finished message with text in it; else raises BadReply.

    `sent`, the body of the request, is for servers that count no tokens.
    """
    found = _decoded(_COMPLETION, body)
    choice, usage = found.choices[0], found.usage or _Usage()
    text, prompt, completion = choice.message.content, usage.prompt_tokens, usage.completion_tokens
    prompt = (len(sent) + 3) // 4 if prompt is None else prompt
    completion = (len(text.encode()) + 3) // 4 if completion is None else completion
    return ChatReply(text, choice.finish_reason, prompt, completion)


def _decoded(decoder: msgspec.json.Decoder[_T], body: bytes) -> _T:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # whose message may repeat the body
        place = re.search(r"`(\$[\w.\[\]]*)`$", str(error))
    raise BadReply(f"the reply is no finished chat message{f' (at {place[1]})' if place else ', or no JSON'}")
