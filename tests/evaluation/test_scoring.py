"""Scores are means over people, with their guards beside them; worked by hand."""

import math

import pytest

from persona_env.conversation import Conversation, Probe
from persona_env.evaluation.eval_suite import Dialogue, EvalSuite
from persona_env.evaluation.records import dialogue_records
from persona_env.evaluation.rollout import play
from persona_env.evaluation.scoring import DRIFT_TYPES, Scores, reductions, score
from persona_env.judges import load_judge
from persona_env.metrics import Answer, Score
from persona_env.persona import Fact, Persona
from persona_env.speakers import load_speaker

ORACLE = load_judge("oracle")
MEI = Persona(
    "mei", "chat_partner", "Mei", "You are Mei. You live in Rome.", (Fact("name", "Mei"), Fact("city", "Rome"))
)


def talk(*turns: str) -> Conversation:
    conversation = Conversation(MEI)
    for place, text in enumerate(turns):
        conversation = conversation.with_line(text) if place % 2 else conversation.with_reply(text)
    return conversation


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
    scores = score([Dialogue(conversation, answers)], ORACLE)
    values = {name: rows[0].per_line for name, rows in scores.dialogues.items()}
    assert values["prompt_to_line"] == (0.0, 1.0, 1.0, 1.0)
    assert values["line_to_line"] == (1.0, 0.0, 0.0, 1.0)
    assert values["question_answer"] == (1.0, 0.0)
    assert values["relevance"] == (1.0, 1.0, 1.0, 1.0)
    assert values["repetition"] == (1.0, 1.0, 0.0, 1.0)
    assert scores.estimate("prompt_to_line").value == 0.75
    assert scores.estimate("prompt_to_line").low is None  # one person: nothing to take an interval over
    assert scores.invalid == 0


def test_the_speaker_that_never_drifts_is_perfect_and_its_guards_say_what_it_is_like():
    played = play(load_speaker("scripted"), EvalSuite(role="student", split="dev", dialogues=24, lines=6))
    scores = score(played, ORACLE)
    for name in (*DRIFT_TYPES, "relevance", "copying"):
        assert scores.estimate(name).value == 1.0
    estimates = scores.estimates
    assert 0 < (estimates["hedging"].value or 0) < 1
    assert 0 < (estimates["volunteering"].value or 0) < 1
    assert set(estimates) == {
        *DRIFT_TYPES,
        "relevance",
        "copying",
        "repetition",
        "hedging",
        "volunteering",
        "line_words",
    }


def made(values: list[float]) -> Scores:
    people = tuple(f"p{i}" for i in range(len(values)))
    return Scores(people, {name: [Score.of((v,)) for v in values] for name in DRIFT_TYPES}, {})


def test_the_interval_of_a_share_stays_within_its_range_and_that_of_a_length_does_not():
    scores = Scores(
        ("a", "b", "c", "d", "e"),
        {name: [Score.of((v,)) for v in (1.0, 1.0, 1.0, 1.0, 0.2)] for name in DRIFT_TYPES},
        {"hedging": [0.0] * 5, "line_words": [4.0, 6.0, 5.0, 5.0, 5.0]},
    )
    drift, hedging, words = (scores.estimate(name) for name in ("line_to_line", "hedging", "line_words"))
    assert (drift.low, drift.high) == (pytest.approx(0.395769, abs=1e-6), 1.0)
    assert (hedging.low, hedging.high) == (0.0, pytest.approx(1 - 0.025**0.2))
    # squares 2, error sqrt(2 / 4 / 5): 5 -+ 2.7764451 * .3162278
    assert (words.low, words.high) == (pytest.approx(4.122011, abs=1e-6), pytest.approx(5.877989, abs=1e-6))


def test_a_reduction_is_of_inconsistency_over_people():
    table = reductions(made([0.0, 0.0, 1.0, 1.0]), made([1.0, 1.0, 1.0, 0.0]))
    assert set(table) == {*DRIFT_TYPES, "overall"}
    for interval in table.values():
        assert interval.mean == pytest.approx(0.5)  # from 2 of 4 to 1 of 4
        assert interval.low < 0.5 < interval.high


def test_nothing_to_reduce_is_not_a_reduction():
    assert math.isnan(reductions(made([1.0, 1.0]), made([1.0, 0.0]))["overall"].mean)


def test_a_record_keeps_what_was_found_in_each_line():
    conversation = talk("Where do you live?", "I'm from Paris.")
    played = [Dialogue(conversation, ())]
    record = next(dialogue_records("before", played, score(played, ORACLE)))
    assert (record.id, record.conversation().lines) == ("before/mei", ("I'm from Paris.",))
    assert [(r.metric, r.line, r.label) for r in record.replies] == [
        ("prompt_to_line", 1, "inconsistent"),
        ("line_to_line", 1, "consistent"),
        ("relevance", 1, "consistent"),
    ]
