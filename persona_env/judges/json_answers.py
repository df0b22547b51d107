"""Reading the closed answers of a judge: one JSON object with one key, or nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NoReturn

from persona_env.judges.backend import LABELS, JudgeAnswer, JudgePrompt

__all__ = ["MAX_REPLY", "answer_schema", "form_problem", "read_answer"]

MAX_REPLY = 1 << 13
"""The most characters of an answer; a longer one is not read at all."""

_DIGITS = 6


class _RefusedError(ValueError):
    """Why a reply is no answer."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) != 1:
        raise _RefusedError(f"has an object with {len(pairs)} keys instead of one")
    return dict(pairs)


def _refuse(what: str) -> NoReturn:
    raise _RefusedError("holds a number that is not whole and small")


def _int(digits: str) -> int:
    return int(digits) if len(digits) <= _DIGITS else _refuse(digits)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse, parse_float=_refuse, parse_int=_int)


def _field(reply: str) -> tuple[str, Any]:
    """Returns key and value of a reply that is one JSON object with one key."""
    if len(reply) > MAX_REPLY:
        raise _RefusedError(f"is longer than {MAX_REPLY} characters")
    text = reply.strip(" \t\r\n")
    if not (text.startswith("{") and text.endswith("}")):
        raise _RefusedError("is not one JSON object and nothing else")
    try:
        value, end = _DECODER.raw_decode(text)
    except _RefusedError:
        raise
    except (ValueError, RecursionError):
        raise _RefusedError("is no JSON") from None
    if end != len(text):
        raise _RefusedError("is not one JSON object and nothing else")
    return next(iter(value.items()))


def _label(value: Any) -> str:
    if type(value) is not str or value not in LABELS:
        raise _RefusedError(f"has none of {', '.join(LABELS)} as its answer")
    return value


def _numbers(value: Any) -> frozenset[int]:
    if type(value) is not list or any(type(number) is not int for number in value):
        raise _RefusedError("has no list of whole numbers")
    numbers = frozenset[int](value)
    if len(numbers) != len(value):
        raise _RefusedError("names a line twice")
    if any(number < 1 for number in numbers):
        raise _RefusedError("names a line that does not exist")
    return numbers


def form_problem(reply: str) -> str:
    r"""Returns why a reply has none of the forms in which any prompt can be answered, "" if it has one.

    >>> form_problem('{"answer": "A"}'), form_problem('{"conflicts": [1, 2]}')
    ('', '')
    >>> form_problem("```json\n{}\n```"), form_problem('{"answer": "A", "answer": "B"}')
    ('is not one JSON object and nothing else', 'has an object with 2 keys instead of one')
    """
    try:
        key, value = _field(reply)
        if key == "answer":
            _label(value)
        elif key in ("conflicts", "compatible"):
            _numbers(value)
        else:
            return f"has the key {key[:20]!r}, which was not asked for"
    except _RefusedError as error:
        return str(error)
    return ""


def read_answer(reply: str, prompt: JudgePrompt) -> JudgeAnswer:
    """Returns the answer to a prompt that a reply states, or why it states none. Never raises on any text.

    >>> prompt = JudgePrompt("negative", "", "", items=3)
    >>> sorted(read_answer('{"conflicts": [3, 1]}', prompt).numbers)
    [1, 3]
    >>> read_answer('{"conflicts": [4]}', prompt).problem, read_answer('{"compatible": []}', prompt).problem
    ('names a line that does not exist', "has the key 'compatible' instead of 'conflicts'")
    """
    try:
        key, value = _field(reply)
        if key != prompt.key:
            raise _RefusedError(f"has the key {key[:20]!r} instead of {prompt.key!r}")
        if not prompt.items:
            return JudgeAnswer(_label(value), raw=reply)
        numbers = _numbers(value)
        if max(numbers, default=0) > prompt.items:
            raise _RefusedError("names a line that does not exist")
        return JudgeAnswer(numbers=numbers, raw=reply)
    except _RefusedError as error:
        return JudgeAnswer(problem=str(error), raw=reply)


def answer_schema(prompt: JudgePrompt) -> dict[str, Any]:
    """Returns the JSON schema of the answers to a prompt.

    >>> answer_schema(JudgePrompt("positive", "", ""))["properties"]
    {'answer': {'type': 'string', 'enum': ['A', 'B']}}
    """
    value: dict[str, Any] = {"type": "string", "enum": list(LABELS)}
    if prompt.items:
        number = {"type": "integer", "minimum": 1, "maximum": prompt.items}
        value = {"type": "array", "items": number, "maxItems": prompt.items}
    keys: Sequence[str] = [prompt.key]
    return {"type": "object", "properties": {prompt.key: value}, "required": keys, "additionalProperties": False}
