import re
from collections import Counter, defaultdict
from dataclasses import replace
from typing import get_args

import pytest

from persona_env.envs.persona_source import resolve_personas
from persona_env.errors import JudgeUnreliable, RunEnded
from persona_env.judges import Judge, Label, LineVsHistory, LineVsPersona, LineVsPrevious, Query, Verdict
from persona_env.judges.base import query_key
from persona_env.judges.canaries import Canaries, evidence
from persona_env.judges.canary_items import known_answers
from persona_env.judges.llm import LLMJudge
from persona_env.persona import Persona
from persona_env.testing import check_judge
from persona_env.testing.samples import sample_queries
from persona_env.world import personas
from persona_env.world.oracle import OracleJudge
from tests.judges.backends import TextBackend

KNOWN = known_answers(personas("patient", "train"))
QUERIES = sample_queries()


class Says:
    """Gives one verdict to everything, and keeps what it was asked."""

    def __init__(self, label: Label = "consistent", inside: Judge | None = None):
        self.label: Label = label
        self.inside, self.asked = inside, []

    def judge(self, queries):
        self.asked.append(list(queries))
        return self.inside.judge(queries) if self.inside else [Verdict(self.label) for _ in queries]


def often(judge, times):
    for _ in range(times):
        judge.judge(QUERIES)


def ask_next(judge: Canaries, *places: int) -> None:
    """Asks the judge queries that are followed by these canaries, one in each batch."""
    for place in places:
        judge._canary = lambda query, place=place: KNOWN[place]
        judge.judge(QUERIES[:1])


def asked_until_stopped(judge: Canaries, canaries: list[int]) -> int:
    """Lets these canaries come one by one; returns how many did before the judge was stopped."""
    before = judge.asked.total()
    with pytest.raises(JudgeUnreliable):
        ask_next(judge, *canaries)
    return judge.asked.total() - before


def distinct(kind: type, number: int) -> list[int]:
    """The places of so many distinct canaries of a kind."""
    found = {query_key(item.query): place for place, item in enumerate(KNOWN) if type(item.query) is kind}
    return [*found.values()][:number]


@pytest.mark.parametrize("role", ["patient", "student", "chat_partner"])
def test_the_oracle_knows_every_known_answer(role):
    known = known_answers(personas(role, "train"))
    verdicts = OracleJudge().judge([canary.query for canary in known])
    assert [(v.label, v.conflicts) for v in verdicts] == [(canary.label, canary.conflicts) for canary in known]
    count = Counter((type(canary.query).__name__, canary.label) for canary in known)
    assert len(count) == 12
    assert all(count[kind, "consistent"] == count[kind, "inconsistent"] >= 100 for kind, _ in count)


@pytest.mark.parametrize("split", ["train", "dev", "heldout"])
@pytest.mark.parametrize("source", ["natural", "bundled"])
@pytest.mark.parametrize("role", ["patient", "student", "chat_partner"])
def test_a_wrong_value_is_one_that_the_question_could_have(role, source, split):
    found = resolve_personas(role, source, split)
    golds, options = defaultdict(set), defaultdict(set)
    asked = {(item.key, item.wordings[0]) for persona in found for item in persona.questions}
    for item in (item for persona in found for item in persona.questions):
        golds[item.wordings[0]].add(item.gold)
        options[item.wordings[0]].update(item.choices)
    keys = Counter(key for key, _ in asked)
    one_type = {question for key, question in asked if keys[key] == 1}
    bad = [known.query for known in known_answers(found) if known.label == "inconsistent"]
    about = [(q.heard, q.line) for q in bad if isinstance(q, LineVsPersona)]
    stated = [q.earlier[1] for q in bad if isinstance(q, LineVsHistory)]  # of the grammar, or with the question
    about += [_asked_and_told(line) for line in stated if line.startswith("When")]
    for question, line in about:
        allowed = options[question] | (golds[question] if question in one_type else set())
        assert any(value.casefold() in line.casefold() for value in allowed), (question, line)
    assert {type(q) for q in bad} == set(get_args(Query))


def _asked_and_told(line):
    return re.findall(r'^When I am asked "(.+)" I answer: (.+)\.$', line)[0]


@pytest.mark.parametrize("role", ["patient", "student", "chat_partner"])
def test_the_natural_personas_have_enough_of_each_kind(role):
    """Twenty: one of them that a good judge may doubt is 5 %, far below the limit."""
    known = known_answers(resolve_personas(role, "natural", "train"))
    count = Counter((type(canary.query).__name__, canary.label) for canary in known)
    assert len(count) == 12
    assert all(number >= 20 for number in count.values())
    assert not any("gearbox" in repr(canary) for canary in known if "your son" in repr(canary))


def test_what_answers_another_question_names_that_question():
    """A bare "Nine." would answer "How old are you?" as well as the question that it is the answer of."""
    for role in ("patient", "student", "chat_partner"):
        for canary in known_answers(resolve_personas(role, "natural", "train")):
            if isinstance(canary.query, LineVsPrevious) and canary.label == "inconsistent":
                about, _ = _asked_and_told(canary.query.line)
                assert about != canary.query.heard


def test_the_caller_never_sees_them_and_they_change_nothing():
    check_judge(Canaries(OracleJudge(), KNOWN, every=2))
    inside = Says(inside=OracleJudge())
    judge = Canaries(inside, KNOWN, every=4)
    assert judge.judge(QUERIES) == OracleJudge().judge(QUERIES)
    (asked,) = inside.asked
    more = len(asked) - len(QUERIES)
    assert len(QUERIES) / 8 < more < len(QUERIES) / 2
    assert judge.asked.total() == more
    assert judge.failed.total() == 0


def test_a_canary_is_of_the_kind_of_the_query_before_it():
    inside = Says(inside=OracleJudge())
    judge = Canaries(inside, KNOWN, every=1)
    judge.judge(QUERIES)
    (asked,) = inside.asked
    assert [type(q) for q in asked[::2]] == [type(q) for q in asked[1::2]]
    assert asked[::2] == QUERIES
    assert judge.identity == judge.inner.identity


def test_the_same_queries_get_the_same_canaries_however_they_are_cut():
    whole, parts = Says(inside=OracleJudge()), Says(inside=OracleJudge())
    Canaries(whole, KNOWN, every=3).judge(QUERIES)
    judge = Canaries(parts, KNOWN, every=3)
    for start in range(0, len(QUERIES), 7):
        judge.judge(QUERIES[start : start + 7])
    assert sum(parts.asked, []) == whole.asked[0]  # noqa: RUF017


def test_a_good_model_goes_on():
    judge = Canaries(LLMJudge(TextBackend()), KNOWN, every=1)
    often(judge, 3)
    assert judge.failed.total() == 0


@pytest.mark.parametrize("label", ["consistent", "inconsistent", "invalid"])
def test_a_judge_that_always_says_the_same_is_stopped(label):
    judge = Canaries(Says(label), KNOWN, every=2)
    with pytest.raises(JudgeUnreliable, match="errs on at most 20%") as caught:
        often(judge, 5)
    assert isinstance(caught.value, RunEnded)
    assert caught.value.exit_code == 77
    assert judge.asked.total() < 200


def test_a_judge_that_fails_one_kind_only_is_stopped():
    class Blind(Says):
        def judge(self, queries):
            return [
                Verdict("consistent") if isinstance(q, LineVsPersona) else OracleJudge().judge([q])[0] for q in queries
            ]

    with pytest.raises(JudgeUnreliable, match="LineVsPersona"):
        ask_next(Canaries(Blind(), KNOWN), *distinct(LineVsHistory, 100), *distinct(LineVsPersona, 100))


def test_a_judge_that_gets_worse_late_is_stopped_by_the_last_ones():
    inside = Says(inside=OracleJudge())
    judge = Canaries(inside, KNOWN, every=1)
    often(judge, 20)
    inside.inside = None
    with pytest.raises(JudgeUnreliable):
        often(judge, 3)


@pytest.mark.parametrize(("settings", "what"), [
    ({"every": 0}, "every >= 1"), ({"limit": 0.0}, "limit in"), ({"limit": 1.0}, "limit in"),
])  # fmt: skip
def test_settings_that_cannot_be_used_are_refused(settings, what):
    with pytest.raises(ValueError, match=what):
        Canaries(OracleJudge(), KNOWN, **settings)


def test_personas_without_facts_have_no_known_answers():
    assert known_answers([Persona("a", "patient", "Ann", "You are Ann.")]) == []
    with pytest.raises(ValueError, match="known answers, got none"):
        Canaries(OracleJudge(), [])


def test_the_evidence_by_hand():
    # Rates of .3, .4, .5 and 1 against .2: 1.5 ** 3 * .875, 2 ** 3 * .75, 2.5 ** 3 * .625 and 5 ** 3 * 0, on the mean.
    assert evidence(3, 4, 0.2) == pytest.approx((2.953125 + 6.0 + 9.765625) / 4)
    assert evidence(40, 200, 0.2) == evidence(0, 0, 0.2) == 1.0
    assert evidence(400, 400, 0.01) > 1e300, "no overflow"


def test_a_judge_is_stopped_by_the_very_canary_that_is_too_much():
    """With a limit of 20 %: n wrong of n are 5 ** n / 4 times likelier and a little more: 815 at 5, 3,971 at 6.

    After 400 right ones it takes as many wrong ones among the last 400 as are 1,000 times likelier: 115.
    """
    places = distinct(LineVsPersona, 600)
    assert asked_until_stopped(Canaries(Says("invalid"), KNOWN), places) == 6
    assert asked_until_stopped(Canaries(Says("invalid"), KNOWN, limit=0.4), places) == 10
    late = Says(inside=OracleJudge())
    judge = Canaries(late, KNOWN)
    ask_next(judge, *places[:410])
    late.inside, late.label = None, "invalid"
    needed = next(n for n in range(400) if evidence(n, 400, 0.2) > 1000)
    assert asked_until_stopped(judge, places) == needed == 115


def test_a_canary_that_comes_again_counts_once():
    """A deterministic judge errs again on the same ones: that says nothing new of it."""
    judge = Canaries(Says("invalid"), KNOWN)
    ask_next(judge, *[0] * 100)
    assert judge.failed.total() == 100


def chance_of_a_halt(rate: float, distinct: int) -> float:
    """The chance that errors at a rate ever are too many among so many distinct canaries, of one test."""
    still, halted = [1.0], 0.0  # by the number of errors so far
    for asked in range(1, distinct + 1):
        more = [x * rate for x in still]
        still = [a * (1 - rate) + b for a, b in zip([*still, 0.0], [0.0, *more], strict=True)]
        for failed in range(asked + 1):
            if still[failed] and evidence(failed, asked, 0.2) > 1000:
                halted += still[failed]
                still[failed] = 0.0
    return halted


def test_a_judge_within_the_limit_is_stopped_in_less_than_one_run_of_a_thousand():
    """At a true error rate of 18 %, each canary always answered alike: 5 to 22 % of runs were stopped before.

    Five tests are made in a run: of each of four kinds of query, and of all.
    """
    assert 5 * chance_of_a_halt(0.18, 400) < 1e-3
    assert chance_of_a_halt(0.2, 400) < 1e-3
    assert chance_of_a_halt(0.5, 60) > 0.9


def test_the_right_label_with_the_wrong_conflicts_is_an_error():
    class Elsewhere(Says):
        """Finds that there is a conflict, with the first of the earlier lines whatever it is."""

        def judge(self, queries):
            found = OracleJudge().judge(queries)
            return [replace(verdict, conflicts=(0,)) if verdict.conflicts else verdict for verdict in found]

    known = [item for item in KNOWN if item.conflicts]
    judge = Canaries(Elsewhere(), known, every=1)
    assert {item.conflicts for item in known} == {(1,)}
    with pytest.raises(JudgeUnreliable, match="LineVsHistory"):
        often(judge, 9)
