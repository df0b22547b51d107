"""Exact match: whether the gold text stands in an answer, word for word; needs no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from persona_env.judges.base import AnswerVsGold, Judge, Query, Verdict
from persona_env.judges.content_filter import rejection_reason, words_of

__all__ = ["MatchJudge"]


class MatchJudge(Judge):
    """Judges answers to questions by exact match (`match`); everything else is `invalid`.

    An answer is consistent if the words of the gold text stand in it in a row; case and punctuation do not count. It is
    `undecided` if another choice of the question stands in it as well, unless one of the two contains the other.
    Negation is not understood: "I do not sleep badly" matches the gold text "badly".

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
        return Verdict("inconsistent", reason=reason, is_asked=False)
    answer, gold = _phrase(query.answer), _phrase(query.gold)
    if not gold.strip():
        return Verdict("invalid", reason="the gold text has no word")
    if gold not in answer:
        return Verdict("inconsistent", reason="the gold text does not stand in the answer")
    choices = [phrase for choice in query.choices if (phrase := _phrase(choice)).strip()]
    if any(other in answer for other in choices if other not in gold and gold not in other):
        return Verdict("undecided", reason="the answer names several choices")
    return Verdict("consistent")


def _phrase(text: str) -> str:
    return f" {' '.join(words_of(text))} "
