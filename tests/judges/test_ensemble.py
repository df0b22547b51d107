import json
import threading

import pytest

from persona_env.judges import Judge, LineVsHistory, LineVsPersona, Verdict, load_judge
from persona_env.judges.ensemble import Ensemble
from persona_env.judges.llm import LLMJudge
from persona_env.persona import Persona
from persona_env.world.oracle import OracleJudge
from tests.judges.backends import TextBackend

ANN = Persona("a", "patient", "Ann", "You are Ann.")
LINE = LineVsPersona(ANN, "I am tired.")
HISTORY = LineVsHistory("patient", "I am tired.", ("Sad.", "Fine.", "Ill."))
YES, NO, SPLIT, WHAT = map(Verdict, ("consistent", "inconsistent", "undecided", "invalid"))


class Says:
    def __init__(self, *verdicts):
        self.verdicts = verdicts

    def judge(self, queries):
        return [self.verdicts[i % len(self.verdicts)] for i in range(len(queries))]


def of(*verdicts):
    return Ensemble([Says(verdict) for verdict in verdicts])


def bad(*conflicts):
    return Verdict("inconsistent", conflicts)


@pytest.mark.parametrize(("votes", "label"), [
    ((YES, YES, NO), "consistent"), ((YES, NO, NO), "inconsistent"), ((YES, NO, WHAT), "undecided"),
    ((YES, YES, WHAT), "consistent"), ((YES, WHAT, WHAT), "invalid"), ((NO, WHAT, WHAT), "invalid"),
    ((YES, NO), "undecided"), ((YES, YES), "consistent"), ((YES, WHAT), "undecided"),
    ((YES, YES, NO, NO), "undecided"), ((YES, YES, WHAT, WHAT), "undecided"),
    ((SPLIT, SPLIT, YES), "undecided"), ((SPLIT, YES, YES), "consistent"), ((SPLIT, WHAT), "undecided"),
])  # fmt: skip
def test_only_more_than_half_of_all_members_is_a_verdict(votes, label):
    assert of(*votes).judge([LINE])[0].label == label


@pytest.mark.parametrize(("votes", "expected"), [
    ((bad(0), bad(0, 1), YES), ("inconsistent", (0,))),
    ((bad(0, 2), bad(0, 1, 2), bad(1)), ("inconsistent", (0, 1, 2))),
    ((bad(0), bad(1), bad(2)), ("undecided", ())),
    ((bad(0), bad(1), YES), ("undecided", ())),
    ((NO, NO, bad(1)), ("inconsistent", ())),
    ((YES, YES, bad(1)), ("consistent", ())),
])  # fmt: skip
def test_a_line_is_in_conflict_where_most_that_find_any_name_it(votes, expected):
    verdict = of(*votes).judge([HISTORY])[0]
    assert (verdict.label, verdict.conflicts) == expected


def test_the_agreement_counts_pairs_of_each_kind_and_never_two_that_decide_nothing():
    ensemble = Ensemble([Says(YES, bad(0)), Says(YES, bad(0)), Says(WHAT, bad(1))])
    ensemble.judge([LINE, HISTORY])
    ensemble.judge([LINE])
    assert ensemble.pairs == {"LineVsPersona": 6, "LineVsHistory": 3}
    assert ensemble.agreed == {"LineVsPersona": 2, "LineVsHistory": 1}
    for label in (WHAT, SPLIT):
        silent = of(label, label, label)
        silent.judge([LINE])
        assert silent.agreed.total() == 0
    assert of(YES, NO).judge([]) == []


def test_the_probability_is_the_mean_where_all_give_one():
    votes = [Verdict("consistent", probability=p) for p in (0.9, 0.8, 0.7)]
    assert of(*votes).judge([LINE])[0].probability == pytest.approx(0.8)
    assert of(*votes[:2], YES).judge([LINE])[0].probability is None


def test_a_spec_names_the_members_and_the_identity_all_of_theirs():
    ensemble = load_judge("ensemble:oracle, oracle,oracle")
    assert isinstance(ensemble, Ensemble)
    assert len(ensemble.members) == 3
    assert json.loads(json.dumps(ensemble.identity))["members"] == [OracleJudge().identity] * 3


def test_the_usage_is_that_of_all_members():
    ensemble = Ensemble([LLMJudge(TextBackend()), LLMJudge(TextBackend()), OracleJudge()])
    ensemble.judge([LINE])
    assert ensemble.usage.calls == 4


def test_a_member_that_miscounts_is_not_passed_over():
    class Short(Says):
        def judge(self, queries):
            return super().judge(queries)[1:]

    with pytest.raises(ValueError, match="Expected 1 verdicts"):
        Ensemble([Says(YES), Short(YES)]).judge([LINE])


def test_a_member_that_fails_cancels_the_others():
    class Waiting(Judge):
        def __init__(self):
            self.cancelled = threading.Event()

        def judge(self, queries):
            assert self.cancelled.wait(20.0)
            raise ConnectionAbortedError

        def cancel(self):
            self.cancelled.set()

    class Failing(Says):
        def judge(self, queries):
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        Ensemble([Waiting(), Waiting(), Failing()]).judge([LINE])


def test_remote_members_are_asked_at_the_same_time():
    class Meeting(Judge):
        is_remote = True
        meeting = threading.Barrier(3)

        def judge(self, queries):
            self.meeting.wait(20.0)
            return [YES]

    ensemble = Ensemble([Meeting(), Meeting(), Meeting()])
    assert ensemble.is_remote
    assert ensemble.submit([LINE]).result()[0].label == "consistent"
    assert not Ensemble([Meeting(), OracleJudge()]).is_remote
