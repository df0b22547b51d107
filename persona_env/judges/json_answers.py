"""Reading the closed answers of a judge: one JSON object with the answer, and the id of what it answers."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any

from persona_env.judges.backend import LABELS, JudgeAnswer, JudgePrompt

__all__ = ["MAX_REPLY", "answer_id", "answer_schema", "answers_another", "read_answer"]

MAX_REPLY = 1 << 13  # characters; a longer reply is not read at all

_BLANK = r"[ \t\r\n]*"
_NUMBER = "[1-9][0-9]{0,5}"
_LABEL = rf'"answer"{_BLANK}:{_BLANK}"(?P<label>{"|".join(LABELS)})"'
_NUMBERS = rf"(?:{_BLANK}{_NUMBER}{_BLANK},)*{_BLANK}{_NUMBER}{_BLANK}|{_BLANK}"
_LIST = rf'"(?P<key>conflicts|compatible)"{_BLANK}:{_BLANK}\[(?P<numbers>{_NUMBERS})\]'
_ID = rf'"id"{_BLANK}:{_BLANK}"(?P<id>[a-z0-9]{{1,20}})"'
_COMMA = rf"{_BLANK},{_BLANK}"
_OBJECT = re.compile(rf"{_BLANK}{{{_BLANK}(?:{_ID}{_COMMA})?(?:{_LABEL}|{_LIST}){_BLANK}}}{_BLANK}")
_LETTERS = "bcdfghjkmnpqrstvwxz2345679"  # no word comes out, and none looks like another


def answer_id(prompt: JudgePrompt) -> str:
    """Returns the id that an answer to a prompt repeats; two other texts share theirs once in 300 million pairs."""
    number = int.from_bytes(sha256("\0".join((prompt.key, prompt.system, prompt.user)).encode()).digest()[:8])
    id = _letters(number, 6)
    return id + _check_letters(id)


def _letters(number: int, count: int) -> str:
    found = ""
    for _ in range(count):
        number, letter = divmod(number, len(_LETTERS))
        found += _LETTERS[letter]
    return found


def _check_letters(id: str) -> str:
    return _letters(int.from_bytes(sha256(id.encode()).digest()[:8]), 2)


def read_answer(reply: str, prompt: JudgePrompt | None = None, id: str = "") -> JudgeAnswer:
    r"""Returns the answer that a reply states, to a prompt or to any, or why it states none. Never raises on any text.

    With an `id` the reply must begin with it, without one it has none.

    >>> prompt = JudgePrompt("negative", "", "", items=3)
    >>> sorted(read_answer('{"conflicts": [3, 1]}', prompt).numbers)
    [1, 3]
    >>> read_answer('{"id": "k3f9", "conflicts": [4]}', prompt, id="k3f9").problem
    'names a line that does not exist'
    >>> read_answer('{"compatible": []}', prompt).problem
    "has the key 'compatible' instead of 'conflicts'"
    >>> read_answer("```json\n{}\n```").problem
    'is not one JSON object with one answer and an allowed value'
    """
    found = _OBJECT.fullmatch(reply) if len(reply) <= MAX_REPLY else None
    if found is None:
        return JudgeAnswer(problem="is not one JSON object with one answer and an allowed value", raw=reply)
    if (found["id"] or "") != id:
        return JudgeAnswer(problem="repeats another id, or none" if id else "has an id", raw=reply)
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


def answers_another(reply: str, id: str) -> bool:
    """Returns whether a reply repeats the id of another prompt, not one that a model has made up."""
    found = _OBJECT.fullmatch(reply) if len(reply) <= MAX_REPLY else None
    other = (found["id"] if found else None) or ""
    return other not in ("", id) and other[6:] == _check_letters(other[:6])


def answer_schema(prompt: JudgePrompt) -> dict[str, Any]:
    """Returns the JSON schema of the answers to a prompt: one of three, as servers may compile each new one."""
    value: dict[str, Any] = {"type": "string", "enum": list(LABELS)}
    if prompt.items:
        value = {"type": "array", "items": {"type": "integer"}}
    return {
        "type": "object",
        "properties": {"id": {"type": "string"}, prompt.key: value},
        "required": ["id", prompt.key],
        "additionalProperties": False,
    }
