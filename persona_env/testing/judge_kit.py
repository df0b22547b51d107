"""What every judge must do."""

from __future__ import annotations

from collections.abc import Sequence

from persona_env.judges.base import AnswerVsGold, Judge, LineVsHistory, Query, Verdict
from persona_env.testing.clauses import require
from persona_env.testing.samples import sample_queries

__all__ = ["check_judge"]


def check_judge(judge: Judge, *, questions: Sequence[Query] | None = None, exact: bool = True) -> None:
    """Checks that a judge keeps to the protocol and fails closed.

    Args:
        judge: What to check.
        questions: What it is asked; those of `sample_queries` if not given.
        exact: Whether a verdict is a function of its question alone.

    Raises:
        AssertionError: Naming the clause that does not hold.

    >>> from persona_env.judges import load_judge
    >>> check_judge(load_judge("oracle"))
    """
    questions = list(sample_queries() if questions is None else questions)
    require(isinstance(judge, Judge), "judge.protocol", f"{judge!r} has no method judge(questions)")
    require(judge.judge([]) == [], "judge.no_questions", "judge([]) is to be []")
    verdicts = judge.judge(questions)
    require(
        isinstance(verdicts, list) and len(verdicts) == len(questions),
        "judge.one_verdict_per_question",
        f"Expected a list of {len(questions)} verdicts, got {verdicts!r:.80}",
    )
    for question, verdict in zip(questions, verdicts, strict=True):
        _check_verdict(question, verdict)
    if exact:
        require(judge.judge(questions) == verdicts, "judge.same_again", "the same questions got other verdicts")
        backwards = judge.judge(questions[::-1])[::-1]
        require(backwards == verdicts, "judge.batching", "the order of the questions changes verdicts")
        alone = [judge.judge([question])[0] for question in questions[:4]]
        require(alone == verdicts[:4], "judge.batching", "the other questions of a batch change a verdict")


def _check_verdict(question: Query, verdict: Verdict) -> None:
    require(isinstance(verdict, Verdict), "judge.verdict", f"Expected a Verdict, got {verdict!r:.80}")
    labels = ("consistent", "inconsistent", "invalid")
    require(verdict.label in labels, "judge.label", f"Expected one of {labels}, got {verdict.label!r}")
    found = verdict.conflicts
    earlier = len(question.earlier) if isinstance(question, LineVsHistory) else 0
    require(
        list(found) == sorted(set(found)) and all(0 <= index < earlier for index in found),
        "judge.conflicts",
        f"Expected ascending indices of {earlier} earlier lines, got {found}",
    )
    require(
        not found or verdict.label == "inconsistent",
        "judge.conflicts",
        f"Expected conflicts of an inconsistent line only, got {found} of a {verdict.label} one",
    )
    sure = verdict.probability
    require(sure is None or 0.0 <= sure <= 1.0, "judge.probability", f"Expected one in [0, 1], got {sure}")
    said = question.answer if isinstance(question, AnswerVsGold) else question.line
    require(
        any(c.isalnum() for c in said) or verdict.label != "consistent",
        "judge.says_nothing",
        f"a line without a word, {said!r}, is never consistent",
    )
