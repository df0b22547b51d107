"""The words of a text, in any script, with "you are" and "I am" folded into one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

__all__ = ["STOPWORDS", "content_words", "sentences", "words"]

# Scripts that write no spaces between words: each of their letters is a word of its own.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_WORD = re.compile(r"[^\s']+(?:'[^\s']+)*")
_STOP = "[.!?\u2026]"
_SENTENCE = re.compile(rf"(?<={_STOP})\s+|(?<={_STOP}[\"'\u201d\u2019)\]])\s+|(?<=[\u3002\uff01\uff1f])|\n+")

_FOLDED = {"i": "you", "me": "you", "my": "your", "mine": "yours", "myself": "yourself", "am": "are", "was": "were"}
_ENDINGS = (("'m", "are"), ("'re", "are"), ("'ve", "have"), ("'ll", "will"), ("'d", "would"))

_STOPWORDS = """
a about after all also an and any are as at be because been before being between both but by can
could did do does doing don't down during each few for from further get go had has have having he
her here hers him his how if in into is it its it's just know like let's may more most much must
no nor not now of off oh ok okay on once one only or other our out over own please really say
shall she should so some such tell than that that's the their them then there these they thing
things this those through to too under until up us very want we well were what what's when where
which while who whom why will with would yes yet you your yours yourself
"""
STOPWORDS = frozenset(_STOPWORDS.split())
"""English words, as `words` gives them, that say nothing about what a sentence is about."""


def _parts(word: str) -> Iterator[str]:
    """Yields a word as the words that are compared: contractions opened, persons folded."""
    for ending, rest in _ENDINGS:
        if word.endswith(ending) and len(word) > len(ending):
            stem = word.removesuffix(ending)
            yield _FOLDED.get(stem, stem)
            yield rest
            return
    yield _FOLDED.get(word, word)


def _separated(character: str) -> str:
    """Returns a character as it stands in a text of words and spaces."""
    if character.isalnum():
        return f" {character} " if _UNSPACED.match(character) else character
    if character == "'":
        return character
    category = unicodedata.category(character)
    if category == "Cf":  # a zero-width character must not hide a word
        return ""
    if category[0] == "M":  # vowel signs and accents belong to their letter
        return "" if _UNSPACED.match(character) else character
    return " "


@lru_cache(maxsize=1 << 14)
def words(text: str) -> tuple[str, ...]:
    """Returns the words of a text, case-folded, with the first person folded into the second.

    Punctuation is dropped. Letters of scripts without spaces (Chinese, Japanese, Thai, ...) are words of their own.

    >>> words("I'm Zoë, and my job is “nurse”.")
    ('you', 'are', 'zoë', 'and', 'your', 'job', 'is', 'nurse')
    >>> words("You are Zoë") == words("I am ZOË"), len(words("我睡四个小时。"))
    (True, 6)
    """
    plain = unicodedata.normalize("NFKC", text.replace("\u2019", "'")).casefold()
    separated = "".join(map(_separated, plain))
    return tuple(part for word in _WORD.findall(separated) for part in _parts(word))


@lru_cache(maxsize=1 << 12)
def content_words(text: str) -> frozenset[str]:
    """Returns the words of a text that say what it is about."""
    return frozenset(words(text)) - STOPWORDS


@lru_cache(maxsize=1 << 12)
def sentences(text: str) -> tuple[str, ...]:
    """Returns the sentences of a text, split at ends of sentences and of lines."""
    return tuple(part.strip() for part in _SENTENCE.split(text) if part and part.strip())
