"""Exact match: whether the gold text stands in an answer, word for word; needs no model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from persona_env.judges.base import AnswerVsGold, Judge, Query, Verdict
from persona_env.judges.content_filter import rejection_reason

__all__ = ["MatchJudge"]

_WORD = re.compile(r"\w+(?:['\u2019]\w+)*")


class MatchJudge(Judge):
    """Judges answers to questions by exact match (`match`); everything else is `invalid`.

    An answer is consistent if the words of the gold text stand in it, next to each other and in order; case and
    punctuation do not count. It is `invalid` if another choice of the question stands in it as well, unless one of
    the two contains the other. Negation is not understood: "I do not sleep badly" matches the gold text "badly".

    >>> [verdict] = MatchJudge().judge([AnswerVsGold("patient", "How do you sleep?", "four hours", "Four hours, why?")])
    >>> verdict.label
    'consistent'
    """

    is_exact = True

    @property
    def identity(self) -> Mapping[str, str]:
        """Its name."""
        return {"judge": "match"}

    def judge(self, queries: Sequence[Query]) -> list[Verdict]:
        """Returns the verdicts, in order."""
        return [_verdict(query) for query in queries]


def _verdict(query: Query) -> Verdict:
    if not isinstance(query, AnswerVsGold):
        return Verdict("invalid", reason="exact match judges answers to questions only")
    reason = rejection_reason(query)
    if reason:
        return Verdict("inconsistent", reason=reason)
    answer, gold = _words(query.answer), _words(query.gold)
    if not gold:
        return Verdict("invalid", reason="the gold text has no word")
    if not _contains(answer, gold):
        return Verdict("inconsistent", reason="the gold text does not stand in the answer")
    choices = [words for choice in query.choices if (words := _words(choice))]
    others = [words for words in choices if not _contains(words, gold) and not _contains(gold, words)]
    if any(_contains(answer, other) for other in others):
        return Verdict("invalid", reason="the answer names several choices")
    return Verdict("consistent")


def _words(text: str) -> list[str]:
    return [word.replace("\u2019", "'") for word in _WORD.findall(text.casefold())]


def _contains(words: Sequence[str], part: Sequence[str]) -> bool:
    return any(words[start : start + len(part)] == part for start in range(len(words) - len(part) + 1))
