"""Reading the closed answers of a judge: one JSON object with one key, or nothing."""

from __future__ import annotations

import re
from typing import Any

from persona_env.judges.backend import LABELS, JudgeAnswer, JudgePrompt

__all__ = ["MAX_REPLY", "answer_schema", "read_answer"]

MAX_REPLY = 1 << 13  # characters; a longer reply is not read at all

_BLANK = r"[ \t\r\n]*"
_NUMBER = "[1-9][0-9]{0,5}"
_LABEL = rf'"answer"{_BLANK}:{_BLANK}"(?P<label>{"|".join(LABELS)})"'
_NUMBERS = rf"(?:{_BLANK}{_NUMBER}{_BLANK},)*{_BLANK}{_NUMBER}{_BLANK}|{_BLANK}"
_LIST = rf'"(?P<key>conflicts|compatible)"{_BLANK}:{_BLANK}\[(?P<numbers>{_NUMBERS})\]'
_OBJECT = re.compile(rf"{_BLANK}{{{_BLANK}(?:{_LABEL}|{_LIST}){_BLANK}}}{_BLANK}")


def read_answer(reply: str, prompt: JudgePrompt | None = None) -> JudgeAnswer:
    r"""Returns the answer that a reply states, to a prompt or to any, or why it states none. Never raises on any text.

    >>> prompt = JudgePrompt("negative", "", "", items=3)
    >>> sorted(read_answer('{"conflicts": [3, 1]}', prompt).numbers)
    [1, 3]
    >>> read_answer('{"conflicts": [4]}', prompt).problem, read_answer('{"compatible": []}', prompt).problem
    ('names a line that does not exist', "has the key 'compatible' instead of 'conflicts'")
    >>> read_answer("```json\n{}\n```").problem
    'is not one JSON object with one key and an allowed value'
    """
    found = _OBJECT.fullmatch(reply) if len(reply) <= MAX_REPLY else None
    if found is None:
        return JudgeAnswer(problem="is not one JSON object with one key and an allowed value", raw=reply)
    key = found["key"] or "answer"
    if prompt is not None and key != prompt.key:
        return JudgeAnswer(problem=f"has the key {key!r} instead of {prompt.key!r}", raw=reply)
    if found["label"]:
        return JudgeAnswer(found["label"], raw=reply)
    numbers = [int(number) for number in re.findall(_NUMBER, found["numbers"])]
    if len(set(numbers)) < len(numbers):
        return JudgeAnswer(problem="names a line twice", raw=reply)
    if prompt is not None and max(numbers, default=0) > prompt.items:
        return JudgeAnswer(problem="names a line that does not exist", raw=reply)
    return JudgeAnswer(numbers=frozenset(numbers), raw=reply)


def answer_schema(prompt: JudgePrompt) -> dict[str, Any]:
    """Returns the JSON schema of the answers to a prompt."""
    value: dict[str, Any] = {"type": "string", "enum": list(LABELS)}
    if prompt.items:
        number = {"type": "integer", "minimum": 1, "maximum": prompt.items}
        value = {"type": "array", "items": number, "maxItems": prompt.items}
    return {
        "type": "object",
        "properties": {prompt.key: value},
        "required": [prompt.key],
        "additionalProperties": False,
    }
