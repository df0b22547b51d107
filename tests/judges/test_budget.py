"""A budget ends a run before it is passed, and what was answered until then is kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from persona_env.errors import RunEnded
from persona_env.judges import LineVsHistory, Query, Verdict, load_judge
from persona_env.judges.budget import BudgetedJudge, BudgetSpent
from persona_env.judges.kept import KeptJudge
from persona_env.judges.store import VerdictStore
from tests.reliability import r23_accounting


@dataclass
class Used:
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Paid:
    """The oracle for two calls a question; a token for each character."""

    def __init__(self, *, down_after: int = 10**9):
        self.identity = {"kind": "paid"}
        self.usage = Used()
        self.asked = list[Query]()
        self.pieces = list[int]()
        self.down_after, self.oracle = down_after, load_judge("oracle")

    def judge(self, questions: Sequence[Query]) -> list[Verdict]:
        if len(self.asked) + len(questions) > self.down_after:
            raise RunEnded("down")
        self.asked += questions
        self.pieces.append(len(questions))
        self.usage.calls += 2 * len(questions)
        self.usage.prompt_tokens += sum(len(q.line) for q in questions if isinstance(q, LineVsHistory))
        self.usage.completion_tokens += len(questions)
        return self.oracle.judge(questions)


def asked(count: int, start: int = 0) -> list[Query]:
    return [LineVsHistory("patient", f"I sleep {i:05} hours.", ("Pretty numb.",)) for i in range(start, start + count)]


def test_what_fits_is_asked_in_few_pieces():
    inner = Paid()
    judge = BudgetedJudge(inner, calls=100_000)
    assert judge.judge(asked(300)) == inner.oracle.judge(asked(300))
    judge.judge(asked(300, 300))
    assert inner.pieces == [1, 2, 6, 18, 54, 162, 57, 300]
    assert judge.judge([]) == []


@pytest.mark.parametrize("calls", [1, 2, 3, 7, 100, 333, 1000])
def test_calls_are_never_passed_and_used_to_the_last_question(calls: int):
    inner = Paid()
    judge = BudgetedJudge(inner, calls=calls)
    batches = [asked(128, start) for start in range(0, 2000, 128)]
    with pytest.raises(BudgetSpent, match=f"of {calls} calls") as found:
        list(map(judge.judge, batches))
    assert max(2, calls - 2) <= judge.spent["calls"] <= max(2, calls)  # what a question costs is learnt by asking one
    assert isinstance(found.value, RunEnded)
    assert (found.value.exit_code, "\n" in str(found.value)) == (76, False)


@pytest.mark.parametrize("tokens", [20, 500, 12_345])
def test_tokens_are_never_passed(tokens: int):
    inner = Paid()
    judge = BudgetedJudge(inner, tokens=tokens, calls=10**6)
    with pytest.raises(BudgetSpent):
        judge.judge(asked(2000))
    each = judge.spent["tokens"] / len(inner.asked)
    assert tokens - 2 * each <= judge.spent["tokens"] <= max(tokens, each)


def test_what_was_answered_before_the_end_comes_with_it_and_is_kept(tmp_path: Path):
    inner = Paid()
    with VerdictStore(tmp_path / "v.db") as store:
        judge = KeptJudge(BudgetedJudge(inner, calls=100), store)
        with pytest.raises(BudgetSpent) as found:
            judge.judge(asked(200))
        assert len(store) == len(inner.asked) == len(found.value.answered) == judge.misses == 50
        again = KeptJudge(BudgetedJudge(inner, calls=300), store)
        assert again.judge(asked(200)) == inner.oracle.judge(asked(200))
        assert (again.hits, again.misses) == (50, 150)
        assert inner.asked == asked(200), "nothing was asked twice"


def test_what_the_store_answers_costs_nothing(tmp_path: Path):
    with VerdictStore(tmp_path / "v.db") as store:
        KeptJudge(Paid(), store).judge(asked(100))
        judge = KeptJudge(BudgetedJudge(Paid(), calls=2), store)
        for _ in range(5):
            judge.judge(asked(100))
        assert judge.usage.calls == 0


def test_an_outage_within_a_call_does_not_lose_what_came_before_it(tmp_path: Path):
    inner = Paid(down_after=1)
    with VerdictStore(tmp_path / "v.db") as store:
        judge = KeptJudge(BudgetedJudge(inner, calls=100), store)
        with pytest.raises(RunEnded, match="down"):
            judge.judge(asked(20))
        assert len(store) == 1


def test_only_what_is_spent_from_now_on_counts():
    inner = Paid()
    inner.judge(asked(50))
    judge = BudgetedJudge(inner, calls=10)
    judge.judge(asked(5))
    assert judge.spent["calls"] == 10
    assert (judge.identity, judge.usage) == (inner.identity, inner.usage)


@pytest.mark.parametrize("limits", [{}, {"calls": 0}, {"calls": 5, "tokens": -1}])
def test_a_budget_of_nothing_is_refused(limits: dict[str, int]):
    with pytest.raises(ValueError, match="Expected a budget of at least one call or token"):
        BudgetedJudge(Paid(), **limits)


def test_a_judge_that_counts_nothing_is_refused():
    with pytest.raises(ValueError, match="Expected a judge that counts its usage"):
        BudgetedJudge(load_judge("oracle"), calls=5)


def test_what_is_requested_is_judged_invalid_or_skipped_exactly():
    for row in r23_accounting.measure(dialogues=8, calls=60):
        assert row.met, row.achieved
