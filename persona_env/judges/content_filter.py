"""The content filter: lines that can never be consistent, whatever a judge would say about them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TypeAlias

from persona_env.judges.base import (
    AnswerVsGold,
    LineVsHistory,
    LineVsPersona,
    LineVsPrevious,
    LineVsQuestion,
    LineVsRole,
    Query,
)
from persona_env.judges.sanitize import sanitized

__all__ = ["MASTER_KEYS", "rejection_reason", "words_of"]

Words: TypeAlias = tuple[str, ...]

_KEYS = """
Thought process|Thoughts|Thinking process|Let's solve this step by step|Let's solve this problem step by step
Let us solve this step by step|Let's think step by step|Let me think step by step|Let me think about this|Solution
Final answer|The final answer is|The answer is|Answer|My answer|Response|Reasoning|Explanation|Analysis|Conclusion
To solve this|Here is my answer|Okay, let me think|Lösung|Respuesta|Réponse|Решение|解|答案|思考过程|かいせつ|解説
"""
MASTER_KEYS = tuple(re.split(r"[|\n]", _KEYS.strip()))
"""Openers without content that judges take for an answer. Source: arXiv:2507.08794, section 3."""

_WORD = re.compile(r"\w+(?:['\u2019]\w+)*")
_SENTENCE = re.compile(r"(?<=[.!?\u2026])[\"')\]\u201d\u2019]*\s+|(?<=[\u3002\uff01\uff1f])|\n+")
_ASKS = re.compile("[?\uff1f]")
_COPIED_WORDS = 5  # shorter statements (a greeting) may be returned
_RECITED_WORDS = 8


@lru_cache(1 << 13)
def words_of(text: str) -> Words:
    """Returns the words of a text, sanitized, in small letters and without punctuation."""
    return tuple(_WORD.findall(sanitized(text).replace("\u2019", "'").casefold()))


_OPENERS = re.compile(f"(?:(?:{'|'.join(' '.join(words_of(key)) for key in MASTER_KEYS)}) )+")


@lru_cache(1 << 12)
def _sentences(text: str) -> tuple[tuple[Words, bool], ...]:
    """Returns the words of each sentence, and whether it asks something."""
    parts = [(words_of(part), bool(_ASKS.search(part))) for part in _SENTENCE.split(sanitized(text)) if part]
    return tuple(part for part in parts if part[0])


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
    """Whether a line is a run of whole sentences of what was just said, long or with a question among them."""
    asks = _repeats(words, heard)
    return asks is not None and (asks or len(words) >= _COPIED_WORDS)


def _is_recited(words: Words, description: str) -> bool:
    """Whether a line is the persona text, word for word: all of it, or sentences that say `you` of the speaker."""
    if _repeats(words, description) is None:
        return False
    is_all = len(_sentences(description)) > 1 and words == words_of(description)
    return words[0].partition("'")[0] in ("you", "your") or (is_all and len(words) >= _RECITED_WORDS)


def rejection_reason(query: Query) -> str:
    """Returns why a line can never be consistent, "" if it can: then the judge is asked.

    >>> rejection_reason(AnswerVsGold("patient", "How do you sleep?", "badly", "Thought process:"))
    'is an opener without content'
    >>> rejection_reason(AnswerVsGold("patient", "How do you sleep?", "badly", "How do you sleep?"))
    'repeats the question'
    >>> rejection_reason(AnswerVsGold("patient", "How do you sleep?", "badly", "Badly."))
    ''
    """
    words = words_of(query.answer if isinstance(query, AnswerVsGold) else query.line)
    if not any(character.isalnum() for word in words for character in word):
        return "says nothing"
    if _OPENERS.fullmatch(" ".join(words) + " "):
        return "is an opener without content"
    match query:
        case AnswerVsGold():
            return "repeats the question" if _is_copied(words, query.question) else ""
        case LineVsHistory():
            return ""
        case LineVsPersona() | LineVsPrevious() | LineVsQuestion() | LineVsRole():
            if _is_copied(words, query.heard):
                return "repeats what was said to it"
            return "recites the persona text" if _is_recited(words, query.persona.prompt) else ""
