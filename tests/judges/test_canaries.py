import re
from collections import Counter, defaultdict

import pytest

from persona_env.envs.persona_source import resolve_personas
from persona_env.errors import JudgeUnreliable, RunEnded
from persona_env.judges import Judge, Label, LineVsHistory, LineVsPersona, LineVsPrevious, Verdict
from persona_env.judges.canaries import Canaries
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


@pytest.mark.parametrize("role", ["patient", "student", "chat_partner"])
def test_the_oracle_knows_every_known_answer(role):
    known = known_answers(personas(role, "train"))
    verdicts = OracleJudge().judge([canary.query for canary in known])
    assert [(v.label, v.conflicts) for v in verdicts] == [(canary.label, canary.conflicts) for canary in known]
    count = Counter((type(canary.query).__name__, canary.label) for canary in known)
    assert len(count) == 8
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
    about += [_asked_and_told(q.earlier[1]) for q in bad if isinstance(q, LineVsHistory)]
    for question, line in about:
        allowed = options[question] | (golds[question] if question in one_type else set())
        assert any(value.casefold() in line.casefold() for value in allowed), (question, line)
    assert {type(q).__name__ for q in bad} == {"LineVsPersona", "AnswerVsGold", "LineVsPrevious", "LineVsHistory"}


def _asked_and_told(line):
    return re.findall(r'^When I am asked "(.+)" I answer: (.+)\.$', line)[0]


@pytest.mark.parametrize("role", ["patient", "student", "chat_partner"])
def test_the_natural_personas_have_enough_of_each_kind(role):
    """Twenty: one of them that a good judge may doubt is 5 %, far below the limit."""
    known = known_answers(resolve_personas(role, "natural", "train"))
    count = Counter((type(canary.query).__name__, canary.label) for canary in known)
    assert len(count) == 8
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
        often(Canaries(Blind(), KNOWN, every=1), 9)


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
