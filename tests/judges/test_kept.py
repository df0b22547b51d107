"""Each distinct question is asked once, ever; whatever could change its verdict makes it another question."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from persona_env.judges import (
    AnswerVsGold,
    Judge,
    LineVsHistory,
    LineVsPersona,
    LineVsPrevious,
    Query,
    Verdict,
    load_judge,
)
from persona_env.judges.kept import KeptJudge, verdict_key, verdict_keys
from persona_env.judges.store import VerdictStore
from persona_env.persona import Fact, Persona, QAItem
from persona_env.testing import check_judge
from persona_env.testing.samples import sample_queries
from tests.reliability import r12_cache_key

ANN = Persona(
    "p1",
    "patient",
    "Ann",
    "You are Ann.",
    (Fact("sleep", "four", "You sleep four hours."),),
    ("city",),
    (QAItem("Four hours", ("How long do you sleep?",), ("And at night?",), ("Four", "Eight"), "sleep"),),
    "It rains.",
)
QUESTIONS: tuple[Query, ...] = (
    LineVsPersona(ANN, "I sleep well.", "How do you sleep?"),
    LineVsHistory("patient", "I sleep well.", ("I never sleep.", "I bake.")),
    AnswerVsGold("patient", "How long?", "Four hours", "Four.", ("Four", "Eight")),
    LineVsPrevious(ANN, "How do you sleep?", "I sleep well."),
)


class Counting:
    """The oracle, with an account of what it is asked and a reply to some questions that cannot be read."""

    def __init__(self, model: str = "m", unreadable: frozenset[int] = frozenset(), ends_at: int | None = None):
        self.identity: dict[str, Any] = {"kind": "test", "model": model}
        self.asked = list[Query]()
        self.calls = list[int]()
        self.unreadable, self.ends_at, self.oracle = unreadable, ends_at, load_judge("oracle")

    def judge(self, questions: Sequence[Query]) -> list[Verdict]:
        if self.ends_at is not None and len(self.asked) + len(questions) > self.ends_at:
            raise ConnectionError("the server is down")
        places = range(len(self.asked), len(self.asked) + len(questions))
        self.asked += questions
        self.calls.append(len(questions))
        verdicts = self.oracle.judge(questions)
        return [Verdict("invalid") if i in self.unreadable else v for i, v in zip(places, verdicts, strict=True)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[VerdictStore]:
    with VerdictStore(tmp_path / "v.db") as opened:
        yield opened


def asked(count: int) -> list[Query]:
    return [LineVsHistory("patient", f"I sleep {i} hours.", ("Pretty numb.",)) for i in range(count)]


def test_it_is_a_judge_and_gives_what_the_judge_gives(store: VerdictStore):
    inner = Counting()
    judge = KeptJudge(inner, store)
    assert isinstance(judge, Judge)
    check_judge(judge)
    distinct = set(sample_queries())
    assert len(inner.asked) == len(distinct), "the kit asks everything several times"
    assert judge.judge(sample_queries()) == load_judge("oracle").judge(sample_queries())


def test_each_distinct_question_is_asked_once_and_the_order_is_kept(store: VerdictStore):
    inner = Counting()
    judge = KeptJudge(inner, store)
    some = asked(5)
    mixed = [some[i] for i in (3, 0, 3, 4, 0, 1)]
    assert judge.judge(mixed) == inner.oracle.judge(mixed)
    assert (judge.hits, judge.misses, inner.asked) == (2, 4, [some[i] for i in (3, 0, 4, 1)])
    judge.judge(some)
    assert (judge.hits, judge.misses, inner.asked[4:]) == (6, 5, [some[2]])


def test_another_run_finds_what_was_asked_and_another_model_does_not(tmp_path: Path):
    for model, expected in (("m", 8), ("m", 0), ("n", 8)):
        with VerdictStore(tmp_path / "v.db") as store:
            inner = Counting(model)
            KeptJudge(inner, store).judge(asked(8))
            assert len(inner.asked) == expected


def test_a_changed_identity_is_seen_at_the_next_call(store: VerdictStore):
    inner = Counting()
    judge = KeptJudge(inner, store)
    judge.judge(asked(2))
    inner.identity["temperature"] = 0.5
    judge.judge(asked(2))
    assert len(inner.asked) == 4


def test_an_unreadable_reply_is_asked_again_unless_it_is_to_be_kept(tmp_path: Path):
    for keep, expected in ((False, 4), (True, 3)):
        with VerdictStore(tmp_path / f"{keep}.db") as store:
            inner = Counting(unreadable=frozenset([1]))
            judge = KeptJudge(inner, store, keep_invalid=keep)
            assert [v.label for v in judge.judge(asked(3))].count("invalid") == 1
            again = [v.label for v in judge.judge(asked(3))]
            assert (len(inner.asked), again.count("invalid"), len(store)) == (expected, int(keep), 3)


def test_it_asks_in_chunks_and_an_outage_loses_only_the_last(store: VerdictStore):
    inner = Counting(ends_at=10)
    judge = KeptJudge(inner, store, chunk=4)
    with pytest.raises(ConnectionError):
        judge.judge(asked(11))
    assert (inner.calls, len(store), judge.misses) == ([4, 4], 8, 8)
    inner.ends_at = None
    judge.judge(asked(11))
    assert (inner.calls, len(inner.asked)) == ([4, 4, 3], 11)


def test_what_was_not_answered_is_neither_hit_nor_miss(store: VerdictStore):
    judge = KeptJudge(Counting(ends_at=5), store, chunk=4)
    judge.judge(asked(1))
    with pytest.raises(ConnectionError):
        judge.judge([*asked(7), *asked(7)])
    assert (judge.hits, judge.misses) == (6, 5), "1 kept, 4 answered, each of them twice; 2 skipped, twice"


def test_verdicts_that_come_with_an_exception_are_kept(store: VerdictStore):
    class Partly(Counting):
        def judge(self, questions: Sequence[Query]) -> list[Verdict]:
            if not self.calls:
                error = ConnectionError("down")
                error.answered = {0: Verdict("consistent"), 2: Verdict("invalid")}  # pyright: ignore[reportAttributeAccessIssue]
                self.calls.append(0)
                raise error
            return super().judge(questions)

    inner = Partly()
    judge = KeptJudge(inner, store)
    with pytest.raises(ConnectionError):
        judge.judge(asked(3))
    judge.judge(asked(3))
    assert inner.asked == asked(3)[1:]


def test_the_first_of_two_judges_at_work_decides(store: VerdictStore):
    class Slow(Counting):
        def judge(self, questions: Sequence[Query]) -> list[Verdict]:
            store.put_many({verdict_key(self.identity, q): Verdict("consistent", reason="other") for q in questions})
            return [Verdict("inconsistent") for _ in questions]

    assert {v.reason for v in KeptJudge(Slow(), store).judge(asked(3))} == {"other"}


def test_a_judge_that_miscounts_is_refused(store: VerdictStore):
    class Short(Counting):
        def judge(self, questions: Sequence[Query]) -> list[Verdict]:
            return super().judge(questions)[1:]

    with pytest.raises(ValueError, match="Expected 3 verdicts, got 2"):
        KeptJudge(Short(), store).judge(asked(3))
    assert len(store) == 0


@pytest.mark.parametrize("identity", [None, "m", {"a": {1: 2}}, {"a": {"b"}}, {"a": float("nan")}, {"a": object()}])
def test_an_identity_that_is_no_plain_data_is_refused(store: VerdictStore, identity: Any):
    inner = Counting()
    inner.identity = identity
    with pytest.raises(ValueError, match=r"identity|plain data|JSON"):
        KeptJudge(inner, store)


def test_chunks_of_nothing_are_refused(store: VerdictStore):
    with pytest.raises(ValueError, match="chunk >= 1, got 0"):
        KeptJudge(Counting(), store, chunk=0)


def test_usage_and_identity_are_the_judges_own(store: VerdictStore):
    inner = Counting()
    assert KeptJudge(inner, store).usage is None
    inner.usage = "used"  # pyright: ignore[reportAttributeAccessIssue]
    assert (KeptJudge(inner, store).usage, KeptJudge(inner, store).identity) == ("used", inner.identity)


def changed(value: Any) -> Iterator[Any]:
    """Yields values that differ from one in exactly one place, however deep."""
    if isinstance(value, str):
        yield from (f"{value}.", value[1:], value.swapcase()) if value else ("x",)
    elif isinstance(value, tuple):
        yield (*value, value[0])
        yield value[1:]
        for place, item in enumerate(value):
            yield from ((*value[:place], other, *value[place + 1 :]) for other in changed(item))
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            others = ("student",) if field.name == "role" else changed(getattr(value, field.name))
            for other in others:
                try:
                    yield replace(value, **{field.name: other})
                except ValueError:  # such a persona or item cannot be
                    continue


def test_whatever_changes_in_a_question_makes_another_key():
    seen = {verdict_key({}, question): question for question in QUESTIONS}
    assert len(seen) == len(QUESTIONS)
    count = 0
    for question in QUESTIONS:
        for other in changed(question):
            key = verdict_key({}, other)
            assert seen.setdefault(key, other) == other
            assert seen[verdict_key({}, question)] == question != other
            count += 1
    assert count > 100


def test_whatever_changes_in_an_identity_makes_another_key():
    identity: Mapping[str, Any] = {
        "kind": "openai",
        "model": "m",
        "prompts": {"patient": "ab"},
        "temperature": 0,
        "seed": 1,
    }
    others = [
        *({**identity, name: other} for name in identity for other in ("x", None, 2, 0.5, [], False)),
        *({k: v for k, v in identity.items() if k != name} for name in identity),
        {**identity, "extra": None},
        {**identity, "prompts": {"patient": "ba"}},
        {**identity, "prompts": ["patient", "ab"]},
        {**identity, "temperature": 0.0},
        {**identity, "seed": "1"},
    ]
    keys = {verdict_key(who, QUESTIONS[0]) for who in [identity, *others]}
    assert len(keys) == 1 + len(others)
    assert verdict_key(dict(reversed(identity.items())), QUESTIONS[0]) == verdict_key(identity, QUESTIONS[0])


def test_texts_cannot_run_into_each_other():
    pairs = [
        ('a","heard":"b', "c"),
        ("a", 'b","line":"c'),
        ("a\\", '"b'),
        ("a", "b\ud800"),
        ("a", "b\\ud800"),
        ("", ""),
    ]
    keys = verdict_keys({}, [LineVsPrevious(ANN, heard, line) for heard, line in pairs])
    assert len(set(keys)) == len(pairs)
    lists = [("a", "b"), ("a,b",), ('a","b',), (), ("",)]
    assert len(set(verdict_keys({}, [LineVsHistory("patient", "x", texts) for texts in lists]))) == len(lists)


def test_keys_stay_the_same_from_release_to_release():
    key = "b5c615bc36ff6259df8da0586aa5e5788bc0f39be56a2b63047383aaee5d1dba"
    assert verdict_key({"model": "m"}, LineVsHistory("patient", "I am Bo.", ("I am Ann.",))) == key
    assert verdict_keys({"model": "m"}, [LineVsHistory("patient", "I am Bo.", ("I am Ann.",))] * 2) == [key] * 2


def test_a_kind_of_question_that_is_not_plain_is_refused():
    @dataclass(frozen=True)
    class Odd:
        line: object

    with pytest.raises(ValueError, match="Expected a text, texts or a persona in a question"):
        verdict_key({}, Odd({"a": 1}))  # pyright: ignore[reportArgumentType]


def test_every_field_is_part_of_the_key_and_nothing_in_the_house_loads_code_from_data():
    for row in r12_cache_key.measure():
        assert row.met, row.achieved
