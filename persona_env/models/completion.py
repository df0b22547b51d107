"""The body of a chat completion, read strictly: what is not exactly one is no reply."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from persona_env.models.chat import ChatReply
from persona_env.models.faults import BadReply

__all__ = ["Completion", "Tokens"]

_MOST_TOKENS = 100_000_000


class _RefusedError(ValueError):
    """Why a text is not the JSON that one may believe."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    return fields if len(fields) == len(pairs) else _refuse("has a key twice")


def _refuse(what: str) -> NoReturn:
    raise _RefusedError(what)


def _constant(name: str) -> NoReturn:
    _refuse("holds a number that is none")


def _float(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _refuse("holds a number too large")


def _int(digits: str) -> int:
    return int(digits) if len(digits) <= 18 else _refuse("holds a number too large")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_int)


def _fields(body: bytes) -> dict[str, Any]:
    """Returns the JSON object that a body is.

    Raises:
        BadReply: If it is none. The message does not repeat it.
    """
    try:
        value: object = _DECODER.decode(body.decode("utf-8"))
    except UnicodeDecodeError:
        raise BadReply("the reply is not UTF-8") from None
    except RecursionError:
        raise BadReply("the reply is nested too deep") from None
    except _RefusedError as error:
        raise BadReply(f"the reply {error}") from None
    except ValueError:
        raise BadReply("the reply is no JSON, or cut off") from None
    if not isinstance(value, dict):
        raise BadReply("the reply is no JSON object")
    return cast(dict[str, Any], value)


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a server says that a call has used; None where it says nothing."""

    prompt: int | None = None
    completion: int | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """The JSON object of a reply, not yet believed.

    Attributes:
        fields: As they came.
    """

    fields: Mapping[str, Any]

    @classmethod
    def read(cls, body: bytes) -> Completion:
        """Reads a body.

        Raises:
            BadReply: If it is not one JSON object, as strictly as JSON can be read.
        """
        return cls(_fields(body))

    @property
    def tokens(self) -> Tokens:
        """What it says of usage.

        Raises:
            BadReply: If it says something impossible.
        """
        usage = self.fields.get("usage")
        if usage is None:
            return Tokens()
        if not isinstance(usage, dict):
            raise BadReply("the reply's usage is no object")
        counts = [cast(dict[str, object], usage).get(name) for name in ("prompt_tokens", "completion_tokens")]
        for count in counts:
            if count is not None and (type(count) is not int or not 0 <= count <= _MOST_TOKENS):
                raise BadReply("the reply's usage holds an impossible count")
        return Tokens(*cast(list[int | None], counts))

    def reply(self, sent: bytes) -> ChatReply:
        """Returns the reply.

        Args:
            sent: The body of the request, from whose size tokens are estimated where the server counts none.

        Raises:
            BadReply: If it is not exactly one finished message with text in it.
        """
        choice = self._choice()
        reason = choice.get("finish_reason")
        if type(reason) is not str or reason not in ("stop", "length"):
            raise BadReply("the reply has a finish_reason other than stop or length")
        text, tokens = _text(choice.get("message")), self.tokens
        prompt = (len(sent) + 3) // 4 if tokens.prompt is None else tokens.prompt
        said = (len(text.encode()) + 3) // 4 if tokens.completion is None else tokens.completion
        return ChatReply(text, reason, prompt, said)

    def _choice(self) -> dict[str, Any]:
        if self.fields.get("error") is not None:
            raise BadReply("the reply holds an error")
        choices = self.fields.get("choices")
        if not isinstance(choices, list) or len(cast(list[object], choices)) != 1:
            raise BadReply("the reply has not exactly one choice")
        (choice,) = cast(list[object], choices)
        if not isinstance(choice, dict):
            raise BadReply("the reply's choice is no object")
        fields = cast(dict[str, Any], choice)
        if fields.get("index", 0) != 0 or type(fields.get("index", 0)) is not int:
            raise BadReply("the reply's choice has another index than 0")
        return fields


def _text(message: object) -> str:
    if not isinstance(message, dict):
        raise BadReply("the reply's message is no object")
    fields = cast(dict[str, Any], message)
    if fields.get("role", "assistant") != "assistant":
        raise BadReply("the reply's message is of another role than assistant")
    if fields.get("tool_calls") or fields.get("refusal"):
        raise BadReply("the reply is a tool call or a refusal")
    text = fields.get("content")
    if type(text) is not str:
        raise BadReply("the reply's content is no text")
    if not text.strip():
        raise BadReply("the reply's content is blank")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadReply("the reply's content holds half of a surrogate pair") from None
    return text
