"""The body of a chat completion, read strictly: what is not exactly one finished message is no reply."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn, cast

from persona_env.models.chat import ChatReply
from persona_env.models.faults import BadReply

__all__ = ["read_completion", "read_reply", "read_usage"]

_MOST_TOKENS = 100_000_000


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    return fields if len(fields) == len(pairs) else _refuse("a key that comes twice")


def _refuse(what: str) -> NoReturn:
    raise BadReply(f"the reply holds {what}")


def _float(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _refuse("a number too large")


def _int(digits: str) -> int:
    return int(digits) if len(digits) <= 18 else _refuse("a number too large")


def _constant(name: str) -> NoReturn:
    _refuse("NaN or Infinity")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_int)


def read_completion(body: bytes) -> dict[str, Any]:
    """Returns the JSON object that a body is.

    Raises:
        BadReply: If it is none. The message does not repeat it.
    """
    try:
        value: object = _DECODER.decode(body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise BadReply("the reply is no JSON, or cut off") from None
    if not isinstance(value, dict):
        raise BadReply("the reply is no JSON object")
    return cast(dict[str, Any], value)


def read_usage(fields: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Returns the tokens of prompt and reply as the server counts them; None where it says nothing.

    Raises:
        BadReply: If a count is impossible.
    """
    usage = fields.get("usage")
    if usage is None:
        return None, None
    if not isinstance(usage, dict):
        _refuse("a usage that is no object")
    counts = [cast(dict[str, object], usage).get(name) for name in ("prompt_tokens", "completion_tokens")]
    for count in counts:
        if count is not None and (type(count) is not int or not 0 <= count <= _MOST_TOKENS):
            _refuse("an impossible count of tokens")
    return cast(tuple[int | None, int | None], tuple(counts))


def read_reply(fields: Mapping[str, Any], sent: bytes) -> ChatReply:
    """Returns the reply of a completion.

    Args:
        fields: The JSON object of the body.
        sent: The body of the request, from whose size tokens are estimated where the server counts none.

    Raises:
        BadReply: If it is not exactly one finished message with text in it.
    """
    if fields.get("error") is not None:
        _refuse("an error")
    choices = fields.get("choices")
    if not isinstance(choices, list) or len(cast(list[object], choices)) != 1:
        _refuse("not exactly one choice")
    choice = cast(list[object], choices)[0]
    if not isinstance(choice, dict):
        _refuse("a choice that is no object")
    found = cast(dict[str, Any], choice)
    reason, index = found.get("finish_reason"), found.get("index", 0)
    if type(index) is not int or index != 0:
        _refuse("a choice with another index than 0")
    if type(reason) is not str or reason not in ("stop", "length"):
        _refuse("a finish_reason other than stop or length")
    text, (prompt, completion) = _text(found.get("message")), read_usage(fields)
    prompt = (len(sent) + 3) // 4 if prompt is None else prompt
    completion = (len(text.encode()) + 3) // 4 if completion is None else completion
    return ChatReply(text, reason, prompt, completion)


def _text(message: object) -> str:
    if not isinstance(message, dict):
        _refuse("a message that is no object")
    fields = cast(dict[str, Any], message)
    if fields.get("role", "assistant") != "assistant":
        _refuse("a message of another role than assistant")
    if fields.get("tool_calls") or fields.get("refusal"):
        _refuse("a tool call or a refusal")
    text = fields.get("content")
    if type(text) is not str or not text.strip():
        _refuse("no text")
    try:
        text.encode()
    except UnicodeEncodeError:
        _refuse("half of a surrogate pair")
    return text
