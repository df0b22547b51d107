"""The content filter: lines that can never be consistent, whatever a judge would say about them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TypeAlias

from persona_env.judges.base import AnswerVsGold, LineVsHistory, LineVsPersona, LineVsPrevious, Query
from persona_env.judges.sanitize import sanitized

__all__ = ["MASTER_KEYS", "rejection_reason"]

Words: TypeAlias = tuple[str, ...]

MASTER_KEYS = (
    "Thought process",
    "Thoughts",
    "Thinking process",
    "Let's solve this step by step",
    "Let's solve this problem step by step",
    "Let us solve this step by step",
    "Let's think step by step",
    "Let me think step by step",
    "Let me think about this",
    "Solution",
    "Final answer",
    "The final answer is",
    "The answer is",
    "Answer",
    "My answer",
    "Response",
    "Reasoning",
    "Explanation",
    "Analysis",
    "Conclusion",
    "To solve this",
    "Here is my answer",
    "Okay, let me think",
    "Lösung",
    "Respuesta",
    "Réponse",
    "Решение",
    "解",
    "答案",
    "思考过程",
    "かいせつ",
    "解説",
)
"""Openers without content that judges take for an answer. Source: arXiv:2507.08794, section 3."""

_WORD = re.compile(r"\w+(?:['\u2019]\w+)*")
_SENTENCE = re.compile(r"(?<=[.!?\u2026])[\"')\]\u201d\u2019]*\s+|(?<=[\u3002\uff01\uff1f])|\n+")
_ASKS = re.compile("[?\uff1f]")
_COPIED_WORDS = 5  # shorter statements (a greeting) may be returned
_RECITED_WORDS = 8


@lru_cache(1 << 13)
def _words(text: str) -> Words:
    return tuple(_WORD.findall(sanitized(text).replace("\u2019", "'").casefold()))


_KEYS = frozenset(_words(key) for key in MASTER_KEYS)
_LONGEST_KEY = max(map(len, _KEYS))


@lru_cache(1 << 12)
def _sentences(text: str) -> tuple[tuple[Words, bool], ...]:
    """Returns the words of each sentence, and whether it asks something."""
    parts = [(_words(part), bool(_ASKS.search(part))) for part in _SENTENCE.split(sanitized(text)) if part]
    return tuple(part for part in parts if part[0])


def _is_master_key(words: Words) -> bool:
    """Whether a line consists of openers, one after the other, and nothing else."""
    while words:
        length = next((n for n in range(min(_LONGEST_KEY, len(words)), 0, -1) if words[:n] in _KEYS), 0)
        if not length:
            return False
        words = words[length:]
    return True


def _repeats(words: Words, text: str) -> bool | None:
    """Returns None if a line is no run of whole sentences of a text, else whether these ask something."""
    sentences = _sentences(text)
    for start in range(len(sentences)):
        joined, asks = (), False
        for sentence, question in sentences[start:]:
            joined, asks = joined + sentence, asks or question
            if joined == words:
                return asks
            if len(joined) >= len(words):
                break
    return None


def _is_copied(words: Words, heard: str) -> bool:
    asks = _repeats(words, heard)
    return asks is not None and (asks or len(words) >= _COPIED_WORDS)


def _is_recited(words: Words, description: str) -> bool:
    """Whether a line is the persona text, word for word: all of it, or sentences that say `you` of the speaker."""
    if _repeats(words, description) is None:
        return False
    is_all = len(_sentences(description)) > 1 and words == _words(description)
    return words[0].partition("'")[0] in ("you", "your") or (is_all and len(words) >= _RECITED_WORDS)


def rejection_reason(query: Query) -> str:
    """Returns why a line can never be consistent, "" if it can: then the judge is asked.

    It says nothing (empty, without a word), consists of openers without content, or copies word for word what was just
    asked, or the persona text in a form that no person would say.

    >>> rejection_reason(AnswerVsGold("patient", "How do you sleep?", "badly", "Thought process:"))
    'is an opener without content'
    >>> rejection_reason(AnswerVsGold("patient", "How do you sleep?", "badly", "How do you sleep?"))
    'repeats the question'
    >>> rejection_reason(AnswerVsGold("patient", "How do you sleep?", "badly", "Badly."))
    ''
    """
    words = _words(query.answer if isinstance(query, AnswerVsGold) else query.line)
    if not any(character.isalnum() for word in words for character in word):
        return "says nothing"
    if _is_master_key(words):
        return "is an opener without content"
    match query:
        case AnswerVsGold():
            return "repeats the question" if _is_copied(words, query.question) else ""
        case LineVsHistory():
            return ""
        case LineVsPersona() | LineVsPrevious():
            if _is_copied(words, query.heard):
                return "repeats what was said to it"
            return "recites the persona text" if _is_recited(words, query.persona.prompt) else ""
