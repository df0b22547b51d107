"""Specs of judges: what they name, what is refused, and what others can add."""

from __future__ import annotations

import copy
import threading
from typing import Any

import pytest

import persona_env
from persona_env.errors import InputError
from persona_env.judges import AnswerVsGold, Judge, LineVsHistory, Verdict, as_judge, load_judge, register_judge
from persona_env.judges.ensemble import Ensemble
from persona_env.judges.llm import LLMJudge
from tests.judges.backends import TextBackend

QUERY = LineVsHistory("patient", "Pretty sad.", ())


class Plain:
    """Only the one method."""

    def judge(self, queries):
        return [Verdict("consistent") for _ in queries]


LISTED = "oracle, match, recorded, hf, run, openai, ensemble"


@pytest.mark.parametrize(("spec", "what"), [
    ("llm", LISTED), ("jury:a,b", LISTED), ("opnai:m", LISTED),
    *((spec, r"Expected a judge \w+") for spec in ("hf", "hf:", "openai:", "ensemble:", "oracle:x", "match:x")),
    ("hf:m?dtype=float64", "Expected"), ("openai:m@http://127.0.0.1:9/v1?max_tokens=some", "Expected"),
    ("oracle?x=1", "Expected"), ("hf:/no/such/judge", "which does not exist"),
    ("ensemble:oracle", "two or more"), ("ensemble:oracle,", LISTED),
    ("ensemble:oracle,ensemble:oracle,oracle", "single judges"),
])  # fmt: skip
def test_a_spec_that_names_no_judge_is_refused_in_one_line(spec, what):
    with pytest.raises(InputError, match=what) as refused:
        load_judge(spec)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("kind", ["opnai", "ensemble:oracle,x", "ensemble:ensemble", "openai", "hf"])
@pytest.mark.parametrize("password", ["SECRET", "a/SECRET", "a SECRET", "a@SECRET", "SECRET,b"])
def test_a_password_in_a_spec_is_not_shown(kind: str, password: str):
    with pytest.raises(InputError, match=r"^Expected ") as refused:
        load_judge(f"{kind}:m@http://ann:{password}@127.0.0.1:9/v1")
    assert "SECRET" not in repr(refused.value)


def test_prompts_for_a_judge_that_reads_none_are_refused(tmp_path):
    with pytest.raises(InputError, match="got 'prompts'"):
        load_judge("oracle", prompts=tmp_path)


def test_objects_are_taken_as_judges():
    judge = LLMJudge(TextBackend())
    assert load_judge(judge) is judge
    plain = load_judge(Plain())
    assert isinstance(plain, Judge)
    assert plain.judge([QUERY]) == [Verdict("consistent")]
    assert plain.identity == {"judge": f"{__name__}.Plain"}
    assert (plain.usage.calls, plain.is_remote) == (0, False)
    with pytest.raises(InputError, match="give it a method judge"):
        as_judge(3)  # pyright: ignore[reportArgumentType]


def test_a_registered_kind_is_named_by_a_spec_also_in_an_ensemble():
    class Strict(Judge):
        def __init__(self, label: Any = "inconsistent"):
            self.label = label

        def judge(self, queries):
            return [Verdict(self.label) for _ in queries]

    persona_env.register_judge("strict_test_judge", Strict)
    assert load_judge("strict_test_judge").judge([QUERY])[0].label == "inconsistent"
    mixed = load_judge("ensemble:strict_test_judge?label=consistent, oracle,strict_test_judge?label=consistent")
    assert isinstance(mixed, Ensemble)
    assert mixed.judge([QUERY])[0].reason == "3 consistent"
    with pytest.raises(InputError, match="built in"):
        register_judge("oracle", Strict)


@pytest.mark.parametrize(("answer", "label"), [
    ("Four hours.", "consistent"), ("About FOUR hours, I think.", "consistent"), ("Fourteen hours.", "inconsistent"),
    ("Hours: four.", "inconsistent"), ("", "inconsistent"), ("Four hours or nine hours.", "undecided"),
])  # fmt: skip
def test_exact_match_looks_for_the_words_of_the_gold_text(answer, label):
    query = AnswerVsGold(
        "patient", "How long do you sleep?", "four hours", answer, ("four hours", "nine hours", "four")
    )
    assert load_judge("match").judge([query, QUERY])[0].label == label
    assert load_judge("match").judge([query, QUERY])[1].label == "invalid"


class Remote(Judge):
    """Tells when it is in a call, and refuses a second one at the same time."""

    is_remote = True

    def __init__(self):
        self.go, self.batches, self.turn = threading.Event(), [], threading.Lock()

    def judge(self, queries):
        assert self.turn.acquire(blocking=False), "two calls at once"
        try:
            assert self.go.wait(20.0)
            self.batches.append(list(queries))
            return [Verdict("consistent") for _ in queries]
        finally:
            self.turn.release()


def test_what_is_submitted_to_a_remote_judge_is_judged_in_a_thread_in_order():
    judge = Remote()
    futures = [judge.submit([LineVsHistory("patient", line, ())]) for line in "abc"]
    assert not any(future.done() for future in futures)
    assert futures[2].cancel()
    judge.go.set()
    assert futures[0].result(20.0) == futures[1].result(20.0) == [Verdict("consistent")]
    assert [batch[0].line for batch in judge.batches] == ["a", "b"]


def test_what_is_submitted_to_a_local_judge_is_done_at_once_and_keeps_its_error():
    class Broken(Judge):
        def judge(self, queries):
            raise RuntimeError("out of memory")

    assert load_judge("oracle").submit([QUERY]).done()
    with pytest.raises(RuntimeError, match="out of memory"):
        Broken().submit([QUERY]).result()


def test_a_copied_spec_shares_the_judge():
    judge = Remote()
    assert copy.deepcopy({"judge": judge})["judge"] is judge
