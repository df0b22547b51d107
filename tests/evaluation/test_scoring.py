"""Scores are means over personas, with their guards beside them; worked by hand."""

from dataclasses import replace

import pytest

from persona_env.conversation import Conversation, Message, Probe
from persona_env.evaluation import Arm, EvalSuite, Sample, Scores, judge_samples, play, reductions, scores
from persona_env.evaluation.eval_log import MetricInfo
from persona_env.evaluation.scoring import generalisation_gap
from persona_env.judges import Verdict, load_judge
from persona_env.metrics import METRICS, Answer, Score, load_metric
from persona_env.metrics.statistics import reduction
from persona_env.persona import Fact, Persona
from persona_env.speakers import load_speaker

NAN = float("nan")
DRIFT = ("prompt_to_line", "line_to_line", "question_answer")
INFOS = tuple(MetricInfo.of(load_metric(name)) for name in METRICS.builtins)
ORACLE = load_judge("oracle")
MEI = Persona(
    "mei", "chat_partner", "Mei", "You are Mei. You live in Rome.", (Fact("name", "Mei"), Fact("city", "Rome"))
)


def talk(*turns: str) -> Conversation:
    conversation = Conversation(MEI)
    for place, text in enumerate(turns):
        conversation = conversation.with_line(text) if place % 2 else conversation.with_reply(text)
    return conversation


def scored(samples: list[Sample], suite: EvalSuite) -> Scores:
    judged = judge_samples(samples, ORACLE, METRICS.builtins)
    return scores(Arm(name="it", simulator="it", suite=suite, samples=judged), INFOS)


def test_a_dialogue_worked_by_hand():
    conversation = talk(
        "Where do you live?", "I'm from Paris.",  # against the persona
        "Where do you live?", "I'm from Rome.",  # against its own words
        "Where do you live?", "I'm from Rome.",  # said before; against its own words
        "Who are you?", "I go by Mei.",
    )  # fmt: skip
    answers = (
        Answer(0, Probe("Which town are you in?", "Rome", role="chat_partner"), "I'm from Rome."),
        Answer(1, Probe("Which town are you in?", "Rome", role="chat_partner"), "I'm from Paris."),
    )
    found = scored([Sample(conversation, answers)], EvalSuite(role="chat_partner"))
    values = {name: rows[0].per_line for name, rows in found.metrics.items()}
    assert values["prompt_to_line"] == (0.0, 1.0, 1.0, 1.0)
    assert values["line_to_line"] == (pytest.approx(NAN, nan_ok=True), 0.0, 0.0, 1.0)
    assert values["question_answer"] == (1.0, 0.0)
    assert values["relevance"] == (1.0, 1.0, 1.0, 1.0)
    assert values["repetition"] == (1.0, 1.0, 0.0, 1.0)
    assert found.estimate("prompt_to_line").value == 0.75
    assert found.estimate("prompt_to_line").low is None  # one persona: nothing to take an interval over
    assert found.inconsistency("overall") == [pytest.approx((0.25 + 2 / 3 + 0.5) / 3)]
    assert (found.counts.invalid, found.counts.undecided) == (0, 0)
    assert found.counts.asked == 4 + 3 + 4 + 2 + 4 + 4  # copying, repetition and the first line ask nobody


def test_the_speaker_that_never_drifts_is_perfect_and_its_guards_say_what_it_is_like():
    suite = EvalSuite(role="student", split="dev", dialogues=24, lines=6)
    found = scored(play(load_speaker("scripted"), suite), suite)
    for name in (*DRIFT, "relevance", "evasion", "role_flip", "copying"):
        assert found.estimate(name).value == 1.0
    assert 0 < (found.estimate("hedging").value or 0) < 1
    assert 0 < (found.estimate("volunteering").value or 0) < 1
    assert set(found.estimates) == {*METRICS.builtins, "hedging", "volunteering", "line_words", "lines_said"}


def test_the_grammar_of_the_embedded_world_is_not_read_out_of_other_personas():
    suite = EvalSuite(role="chat_partner", personas="natural")
    said = talk("Who are you?", "I go by Mei.")
    english = replace(said, persona=replace(said.persona, description="You are Mei, who sleeps four hours a night."))
    assert [*scored([Sample(english)], suite).style] == ["line_words"]
    assert "hedging" in scored([Sample(said)], suite).style  # a file of personas in the grammar is read


def shares(*values: float) -> Score:
    return Score.of([Verdict("consistent" if value else "inconsistent") for value in values])


def made(values: list[float]) -> Scores:
    personas = tuple(f"p{i}" for i in range(len(values)))
    return Scores(personas, {name: [shares(v) for v in values] for name in DRIFT}, {}, DRIFT)


def test_lines_that_were_not_said_and_those_that_were_cut_or_filtered_are_counted():
    said = [Message("task", "Hello.", "filtered"), Message("simulator", "Hi.", "cut"), Message("task", "And?")]
    probe = Probe("Who?", "Mei", role="chat_partner")
    samples = [Sample(Conversation(MEI, tuple(said)), (Answer(0, probe, "", "filtered"),)), Sample(talk("A?", "B."))]
    found = scored(samples, EvalSuite(role="chat_partner", lines=4))
    totals = {name: found.total(name) for name in found.lines}
    assert totals == {"lines_said": (2, 8), "lines_cut": (1, 2), "replies_filtered": (1, 3), "answers_filtered": (1, 1)}
    assert (found.estimate("lines_said").value, found.estimate("lines_said").n) == (0.25, 8)
    assert found.as_json()["lines_cut"]["value"] == 0.5
    assert "lines_filtered" not in found


def test_what_one_arm_has_nothing_of_is_left_out_of_the_reduction():
    """After training each dialogue has one line: nothing can contradict what was said before."""
    suite = EvalSuite(role="chat_partner", lines=2)
    before = scored([Sample(talk("Where do you live?", "I'm from Paris.", "Where?", "I'm from Rome."))], suite)
    after = scored([Sample(talk("Where do you live?", "I'm from Rome."))], suite)
    assert "line_to_line" not in after
    assert set(reductions(before, after)) == {"prompt_to_line", "overall"}


def test_the_interval_of_a_share_stays_within_its_range_and_that_of_a_length_above_0():
    """Two personas with two dialogues each: .25 and .75 of four lines."""
    talks = [shares(*lines) for lines in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0))]
    style = {"hedging": [0.0] * 4, "line_words": [4.0, 6.0, 5.0, 7.0]}
    found = Scores(("a", "b", "a", "b"), dict.fromkeys(DRIFT, talks), style, DRIFT)
    drift, hedging, words = (found.estimate(name) for name in ("line_to_line", "hedging", "line_words"))
    assert (drift.low, drift.high) == pytest.approx((0.006081, 0.993919), abs=1e-6)
    assert (hedging.low, hedging.high) == (0.0, pytest.approx(1 - 0.025**0.5))
    assert (words.low, words.high) == pytest.approx((0.0, 5.5 + 12.7062047), abs=1e-6)
    perfect = Scores(("a", "b", "a", "b"), dict.fromkeys(DRIFT, [shares(*[1.0] * 4)] * 4), style, DRIFT)
    assert perfect.estimate("line_to_line").low == pytest.approx(0.090167, abs=1e-6)  # h = 161.4476 / 32: 1 / (1 + 2 h)
    by_hand = reduction([0.75, 0.25], [0.0, 0.0], "ab", None, [4, 4], [8, 8])
    assert [*reductions(found, perfect).values()] == [by_hand] * 4


def test_a_reduction_is_of_inconsistency_over_personas():
    table = reductions(made([0.0, 0.0, 1.0, 1.0]), made([1.0, 1.0, 1.0, 0.0]))
    assert set(table) == {*DRIFT, "overall"}
    for interval in table.values():
        assert interval.mean == pytest.approx(0.5)  # from 2 of 4 to 1 of 4
        assert interval.low < 0.5 < interval.high


def test_the_gap_is_a_ratio_of_inconsistencies_and_unknown_where_there_is_none_to_compare_with():
    assert generalisation_gap(made([0.0, 0.0]), made([1.0, 0.0])) == dict.fromkeys(DRIFT, 2.0)
    assert generalisation_gap(made([0.0, 0.0]), made([1.0, 1.0])) == dict.fromkeys(DRIFT)
