"""What a chat model is asked, and its reply in every published shape; what is not exactly one message is no reply."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from persona_env.errors import InputError
from persona_env.models.faults import BadReply, Filtered, NoText
from persona_env.models.thoughts import without_thought

__all__ = ["FILTER", "ChatReply", "ChatRequest", "check_reply", "read_reply", "read_usage"]

FILTER = re.compile(
    r"content_?(filter|polic|management)|moderation|safety|sensitive|inspection_failed|invalid_prompt|flagged|refusal|"
    r"recitation|prohibited|blocklist|responsible_?ai",
    re.I,
)
"""How servers name a filter, as the end of a reply or the code of an error."""

_ROLES = ("system", "user", "assistant")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One chat that a model is to go on with; an `InputError` if it cannot be asked."""

    messages: tuple[tuple[str, str], ...]  # (role, text), oldest first; roles are `system`, `user` and `assistant`
    max_tokens: int
    temperature: float | None = 0.0  # 0 asks for the likeliest token, None for what the server has by itself
    seed: int | None = None  # >= 0; None leaves it to the server
    schema: Mapping[str, Any] | None = None  # a JSON schema that the reply is to keep; a server may ignore it
    accept: Callable[[ChatReply], None] | None = field(default=None, compare=False, repr=False)
    """Raises a `BadReply` for a reply that is not what was asked for."""

    def __post_init__(self) -> None:
        if not self.messages or any(role not in _ROLES for role, _ in self.messages):
            raise InputError(f"Expected messages with roles {', '.join(_ROLES)}, got none or others: name these.")
        if (
            self.max_tokens < 1
            or not 0 <= (self.temperature or 0.0) < math.inf
            or (self.seed is not None and self.seed < 0)
        ):
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
            "stream": False,
        }
        fields |= {} if self.temperature is None else {"temperature": self.temperature}
        fields |= {} if self.seed is None else {"seed": self.seed}
        if self.schema is not None:
            form = {"name": "reply", "schema": dict(self.schema), "strict": True}
            fields["response_format"] = {"type": "json_schema", "json_schema": form}
        return fields


@dataclass(frozen=True, slots=True)
class ChatReply:
    """What a model replied, without its thoughts; tokens are as the server counts them, else one for every 4 bytes."""

    text: str  # "" where it says nothing: `check_reply` tells why
    finish_reason: str  # `stop`, `length` where it was cut at the bound, `content_filter` where it was withheld
    prompt_tokens: int
    completion_tokens: int


_Count = Annotated[int, Meta(ge=0, le=100_000_000)] | None


class _Usage(Struct):
    prompt_tokens: _Count = None
    completion_tokens: _Count = None


class _Counted(Struct, kw_only=True):
    usage: _Usage | None = None


class _Part(Struct):
    type: str = "text"
    text: str | None = None


class _Message(Struct):
    content: str | list[_Part] | None = None
    role: Literal["assistant", ""] | None = "assistant"
    tool_calls: Annotated[list[Any], Meta(max_length=0)] | None = None
    refusal: str | None = None

    @property
    def text(self) -> str:
        """What is said, without the parts that are thoughts."""
        if isinstance(self.content, list):
            return "".join(part.text or "" for part in self.content if part.type in ("text", "output_text"))
        return self.content or ""

    @property
    def is_refusal(self) -> bool:
        """Whether the model says that it does not answer."""
        parts = self.content if isinstance(self.content, list) else []
        return bool(self.refusal) or any(part.type == "refusal" for part in parts)


class _Choice(Struct):
    message: _Message
    finish_reason: str | None = None
    index: Literal[0] | None = 0


class _Completion(_Counted, kw_only=True):
    choices: Annotated[list[_Choice], Meta(min_length=1, max_length=1)]


_COUNTED, _COMPLETION = msgspec.json.Decoder(_Counted), msgspec.json.Decoder(_Completion)
_ENDS = {
    **dict.fromkeys(("", "stop", "eos", "eos_token", "end_turn", "stop_sequence", "complete"), "stop"),
    **dict.fromkeys(("length", "max_tokens", "max_output_tokens", "model_length"), "length"),
}


def read_usage(body: bytes) -> tuple[int, int]:
    """Returns the tokens of prompt and reply that a body counts, 0 where it counts none; else raises BadReply."""
    usage = _decoded(_COUNTED, body).usage or _Usage()
    return usage.prompt_tokens or 0, usage.completion_tokens or 0


def read_reply(body: bytes, sent: bytes) -> ChatReply:
    """Returns the reply in a body, if it is exactly one message that came to its end; else raises BadReply.

    `sent`, the body of the request, is for servers that count no tokens. A thought that is cut off leaves no text.
    """
    found = _decoded(_COMPLETION, body)
    choice, usage = found.choices[0], found.usage or _Usage()
    end = _end(choice)
    text = "" if end == "content_filter" else without_thought(choice.message.text) or ""
    prompt, completion = usage.prompt_tokens, usage.completion_tokens
    prompt = (len(sent) + 3) // 4 if prompt is None else prompt
    completion = (len(choice.message.text.encode()) + 3) // 4 if completion is None else completion
    return ChatReply(text if text.strip() else "", end, prompt, completion)


def check_reply(request: ChatRequest, reply: ChatReply) -> None:
    """Raises where a reply was withheld (Filtered), says nothing (NoText), or is not what was asked for (BadReply)."""
    if reply.finish_reason == "content_filter":
        raise Filtered("a content filter or a refusal withheld the reply")
    if not reply.text and reply.finish_reason == "length":
        raise NoText("the reply was cut off before it said anything: allow more max_tokens, or say thinking=false")
    if not reply.text:
        raise NoText("the reply says nothing")
    if request.accept is not None:
        request.accept(reply)


def _end(choice: _Choice) -> str:
    """How a reply ended, in one word for all servers."""
    end = (choice.finish_reason or "").casefold()
    if FILTER.search(end) or choice.message.is_refusal:
        return "content_filter"
    if end not in _ENDS:
        raise BadReply("the reply is no finished chat message (at $.choices[0].finish_reason)")
    return _ENDS[end]


def _decoded(decoder: msgspec.json.Decoder[_T], body: bytes) -> _T:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # whose message may repeat the body
        place = re.search(r"`(\$[\w.\[\]]*)`$", str(error))
    raise BadReply(f"the reply is no finished chat message{f' (at {place[1]})' if place else ', or no JSON'}")
