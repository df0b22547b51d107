"""A judge that stops in order before it has cost more than was allowed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

from persona_env.errors import InputError, RunEnded
from persona_env.judges.around import Around
from persona_env.judges.base import Judge, Query, Verdict

__all__ = ["BudgetSpent", "BudgetedJudge"]


class BudgetSpent(RunEnded):
    """The judge's budget does not allow the next call.

    Attributes:
        answered: What the judge had answered of the questions it was just asked, by place.
    """

    exit_code = 76

    def __init__(self, message: str, answered: Mapping[int, Verdict] | None = None) -> None:
        super().__init__(message)
        self.answered = dict(answered or {})


class BudgetedJudge(Around):
    """Asks a judge as long as calls and tokens last; what the next questions may cost is estimated from the last.

    It asks in pieces: a single question until one has cost something, then of each kind of question at most
    twice as many as before, and no more than half of what still fits at the mean price of the dearest piece
    so far. So the budget is used until not even one question fits at that price, and as long as no piece is
    more than twice as dear as the dearest before it, a limit is passed by less than one question's price (a
    retry counts as a call). Stands inside of what answers for nothing: `KeptJudge(BudgetedJudge(judge), store)`.

    Args:
        judge: With a `usage` that counts `calls`, `prompt_tokens` and `completion_tokens`.
        calls: How many calls it may make from now on; None: any number.
        tokens: How many tokens, of prompts and replies together; None: any number.

    Raises:
        ValueError: If a budget is below 1, there is none, or the judge counts nothing.
    """

    def __init__(self, judge: Judge, calls: int | None = None, tokens: int | None = None) -> None:
        limits = {"calls": calls, "tokens": tokens}
        self.limits = {name: limit for name, limit in limits.items() if limit is not None}
        if not self.limits or min(self.limits.values()) < 1:
            raise InputError(
                f"Expected a budget of at least one call or token, got {limits}: leave the judge as it is."
            )
        if not hasattr(judge, "usage"):
            raise InputError(f"Expected a judge that counts its usage, got {judge!r:.80}: it costs nothing to limit.")
        super().__init__(judge)
        self._before = _counted(judge)
        self._asked = Counter[type[Query]]()
        self._dearest = dict.fromkeys(self.limits, 0.0)

    @property
    def spent(self) -> dict[str, int]:
        """Calls and tokens that count against the budget."""
        return {name: count - self._before[name] for name, count in _counted(self.wrapped).items()}

    def judge(self, questions: Sequence[Query]) -> list[Verdict]:
        """Returns the verdicts, in order.

        Raises:
            BudgetSpent: If the budget does not last for all of them; its `answered` has those it did last for.
        """
        verdicts = list[Verdict]()
        while len(verdicts) < len(questions):
            piece = self._piece(questions[len(verdicts) :])
            if not piece:
                raise BudgetSpent(self._message(len(questions) - len(verdicts)), dict(enumerate(verdicts)))
            verdicts += self._answers(piece, verdicts)
        return verdicts

    def _answers(self, piece: Sequence[Query], before: Sequence[Verdict]) -> list[Verdict]:
        spent = self.spent
        try:
            answers = self.wrapped.judge(piece)
        except RunEnded as error:  # an outage must not lose what came before it
            later = getattr(error, "answered", None) or {}
            places = {len(before) + place: verdict for place, verdict in later.items()}
            error.answered = {**dict(enumerate(before)), **places}  # pyright: ignore[reportAttributeAccessIssue]
            raise
        if len(answers) != len(piece):
            raise InputError(
                f"Expected {len(piece)} verdicts, got {len(answers)}: a judge answers each question, in order."
            )
        self._learn(piece, spent)
        return answers

    def _learn(self, piece: Sequence[Query], before: Mapping[str, int]) -> None:
        """Notes what a piece has cost; one that cost nothing tells nothing of the next."""
        spent = self.spent
        if spent != before:
            self._asked.update(map(type, piece))
            for name, dearest in self._dearest.items():
                self._dearest[name] = max(dearest, (spent[name] - before[name]) / len(piece))

    def _piece(self, questions: Sequence[Query]) -> Sequence[Query]:
        """Returns the questions to ask next, from the first on: none if not even one fits."""
        spent = self.spent
        left = {name: limit - spent[name] for name, limit in self.limits.items()}
        fits = min(left[name] / dearest if dearest else inf for name, dearest in self._dearest.items())
        if min(left.values()) <= 0 or fits < 1:
            return []
        most = max(1, int(min(fits / 2, len(questions)))) if self._asked else 1
        kinds = Counter[type[Query]]()
        for place, kind in enumerate(map(type, questions[:most])):
            kinds[kind] += 1
            if kinds[kind] > max(1, 2 * self._asked[kind]):
                return questions[:place]
        return questions[:most]

    def _message(self, left: int) -> str:
        spent = self.spent
        used = " and ".join(f"{spent[name]} of {limit} {name}" for name, limit in self.limits.items())
        return f"The judge's budget is spent ({used}) with {left} questions open: resume with a larger one."


def _counted(judge: Judge) -> dict[str, int]:
    usage: Any = getattr(judge, "usage")  # noqa: B009
    return {"calls": usage.calls, "tokens": usage.prompt_tokens + usage.completion_tokens}
