"""What every judge must do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, get_args

from persona_env.errors import InputError
from persona_env.judges.base import AnswerVsGold, Judge, JudgeLike, Label, LineVsHistory, Query, Verdict, as_judge
from persona_env.testing.samples import require, sample_queries

__all__ = ["check_judge"]

_LABELS = get_args(Label)


def check_judge(judge: JudgeLike, *, queries: Sequence[Query] | None = None, exact: bool = True) -> None:
    """Checks that a judge fails closed and answers each query for itself, on `sample_queries` if none are given.

    With `exact` a verdict is a function of its query alone.

    >>> from persona_env.judges import load_judge
    >>> check_judge(load_judge("oracle"))
    """
    queries = list(sample_queries() if queries is None else queries)
    judge = _checked_form(judge)
    require(judge.judge([]) == [], "judge.no_queries", "judge([]) must be []")
    verdicts = judge.judge(queries)
    require(
        isinstance(verdicts, list) and len(verdicts) == len(queries),
        "judge.one_verdict_per_query",
        f"Expected a list of {len(queries)} verdicts, got {verdicts!r:.80}",
    )
    for query, verdict in zip(queries, verdicts, strict=True):
        _check_verdict(query, verdict)
    if exact:
        require(judge.submit(queries).result() == verdicts, "judge.same_again", "the same queries got other verdicts")
        turned = judge.judge(queries[::-1])[::-1]
        require(turned == verdicts, "judge.batching", "the order of the queries changes verdicts")
        alone = [judge.judge([query])[0] for query in queries[:4]]
        require(alone == verdicts[:4], "judge.batching", "the other queries of a batch change a verdict")


def _checked_form(judge: Any) -> Judge:
    try:
        judge = as_judge(judge)
    except InputError as error:
        raise AssertionError(f"judge.protocol: {error}") from None
    try:
        is_plain = json.loads(json.dumps(dict(judge.identity))) == dict(judge.identity)
    except (TypeError, ValueError):
        is_plain = False
    require(is_plain, "judge.identity", f"Expected a mapping of plain data, got {judge.identity!r:.80}")
    return judge


def _check_verdict(query: Query, verdict: Verdict) -> None:
    require(isinstance(verdict, Verdict), "judge.verdict", f"Expected a Verdict, got {verdict!r:.80}")
    require(verdict.label in _LABELS, "judge.label", f"Expected one of {_LABELS}, got {verdict.label!r}")
    found = verdict.conflicts
    earlier = len(query.earlier) if isinstance(query, LineVsHistory) else 0
    possible = range(earlier) if verdict.label == "inconsistent" else ()
    require(
        list(found) == sorted(set(found)) and set(found) <= set(possible),
        "judge.conflicts",
        f"Expected ascending indices of earlier lines of an inconsistent line only, got {found}",
    )
    chance = verdict.probability
    require(chance is None or 0.0 <= chance <= 1.0, "judge.probability", f"Expected one in [0, 1], got {chance}")
    line = query.answer if isinstance(query, AnswerVsGold) else query.line
    require(
        any(c.isalnum() for c in line) or verdict.label != "consistent" or not verdict.applies,
        "judge.says_nothing",
        f"a line without a word, {line!r}, is never consistent",
    )
