"""A budget holds whatever the questions cost and in whatever order they come; ample room costs few calls."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_env.judges import AnswerVsGold, LineVsHistory, LineVsPersona, Query
from persona_env.judges.budget import BudgetedJudge, BudgetSpent
from persona_env.judges.llm import LLMJudge
from persona_env.persona import Persona
from tests.judges.backends import TextAsker

ANN = Persona("a", "patient", "Ann", "You are Ann.")


def priced(lines: int, place: int = 0) -> Query:
    """A question that costs two calls for each earlier line, nothing where there is none."""
    return LineVsHistory("patient", f"I sleep {place} hours.", tuple(f"I eat {i}." for i in range(lines)))


def used(prices: list[int], limit: int, *, at_once: int = 10**6) -> tuple[int, int]:
    """Returns the calls that were made, and how many questions were left open."""
    asker, done = TextAsker(lists=False), 0
    judge = BudgetedJudge(LLMJudge(asker), calls=limit)
    questions = [priced(price, place) for place, price in enumerate(prices)]
    try:
        for done in range(0, len(questions), at_once):
            judge.judge(questions[done : done + at_once])
    except BudgetSpent as spent:
        return asker.usage.calls, len(questions) - done - len(spent.answered)
    return asker.usage.calls, 0


@given(st.lists(st.just(0) | st.integers(3, 6), max_size=60), st.integers(1, 300), st.sampled_from([5, 32, 1000]))
def test_a_limit_is_passed_by_less_than_a_question_where_none_is_more_than_twice_as_dear(
    prices: list[int], limit: int, at_once: int
):
    calls, left = used(prices, limit, at_once=at_once)
    assert calls < limit + 12
    assert calls > limit - 12 or not left, "it does not end before it has to"


@pytest.mark.parametrize("at_once", [32, 256])
@pytest.mark.parametrize("free", [0, 1, 100])
def test_questions_that_cost_nothing_or_little_at_first_do_not_let_the_rest_through(free: int, at_once: int):
    calls, left = used([0] * free + [1] + [40] * 255, 1000, at_once=at_once)
    assert 1000 - 80 < calls <= 1000
    assert left == 255 - (calls - 2) // 80


def test_a_kind_that_was_not_asked_before_is_asked_a_few_times_first():
    asker = TextAsker(lists=False)
    judge = BudgetedJudge(LLMJudge(asker), calls=2000)
    judge.judge([AnswerVsGold("patient", "How do you sleep?", "badly", f"I sleep {i} hours.") for i in range(500)])
    with pytest.raises(BudgetSpent):
        judge.judge([priced(40, place) for place in range(256)])
    assert 2000 - 80 < asker.usage.calls <= 2000


def test_ample_room_costs_a_few_calls_at_the_start_and_none_later():
    asker = TextAsker(lists=False)
    judge = BudgetedJudge(LLMJudge(asker), calls=10**6)
    for chunk in range(16):
        judge.judge([LineVsPersona(ANN, f"I sleep {chunk * 256 + place} hours.") for place in range(256)])
    sizes = [len(queries) // 2 for queries in asker.asked]
    assert sizes == [1, 2, 6, 18, 54, 162, 13, *[256] * 15]


def test_kinds_that_take_turns_are_asked_together():
    asker = TextAsker(lists=False)
    judge = BudgetedJudge(LLMJudge(asker), calls=10**6)
    kinds = [priced(1), LineVsPersona(ANN, "I sleep."), AnswerVsGold("patient", "Do you sleep?", "badly", "Badly.")]
    judge.judge(kinds * 100)
    assert len(asker.asked) == 7
