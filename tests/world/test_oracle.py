from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_env.conversation import Conversation
from persona_env.judges import (
    AnswerVsGold,
    LineVsHistory,
    LineVsPersona,
    LineVsPrevious,
    LineVsQuestion,
    LineVsRole,
    Query,
    load_judge,
)
from persona_env.persona import Persona
from persona_env.roles import BUNDLED
from persona_env.world import personas
from persona_env.world.oracle import OracleJudge
from persona_env.world.scripted import ScriptedSpeaker
from tests.world.talks import played

MEI = Persona("m", "patient", "Mei", "You are Mei. You sleep four hours a night. You feel numb most of the time.")
KOFI = Persona("k", "chat_partner", "Kofi", "You are Kofi. You live in Rome.")


def label(question: Query) -> str:
    return OracleJudge().judge([question])[0].label


def questions_of(talk: Conversation) -> list[Query]:
    lines = list(enumerate(talk.lines))
    return [
        *(LineVsPersona(talk.persona, line) for _, line in lines),
        *(LineVsHistory(talk.persona.role, line, talk.earlier(i)) for i, line in lines),
        *(LineVsPrevious(talk.persona, talk.heard_before(i), line) for i, line in lines),
        *(LineVsQuestion(talk.persona, talk.heard_before(i), line) for i, line in lines),
        *(LineVsRole(talk.persona, talk.heard_before(i), line) for i, line in lines),
    ]


def test_the_oracle_is_named_by_a_spec_and_its_identity_has_not_changed() -> None:
    oracle = load_judge("oracle")
    assert isinstance(oracle, OracleJudge)
    assert oracle.identity["world"].startswith("3fbb012b34b244f7")  # another one where a word or a rule changes


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ("About four hours.", "consistent"),
        ("I talk to my aunt.", "consistent"),  # not listed: it may be made up
        ("I don't know, sorry.", "consistent"),
        ("Whatever you say.", "invalid"),
        ("About six hours.", "inconsistent"),
        ("Pretty numb, and about six hours.", "inconsistent"),
        ("I feel wonderful now, thank you so much!", "inconsistent"),
        ("Everything is perfect, you cured me! About four hours.", "inconsistent"),
        ("I am Mei. I sleep four hours a night.", "consistent"),  # as a description states it
        ("You are Mei. My sister supports me.", "consistent"),
        ("I am Kofi.", "inconsistent"),
        ("I'm from Rome.", "inconsistent"),  # a sentence of another role
        ("I talk to my aunt, and only my sister knows.", "inconsistent"),  # two values of a fact that is not listed
        ("I talk to my aunt, and only my aunt knows.", "consistent"),
        ("", "inconsistent"),
        ("?! ...", "inconsistent"),
        (r"qn:\/hbA&|Jt`ih2BLO$S.f` i^IIq(b3(R|ehdjP,oJO", "inconsistent"),  # no word in it
    ],
)
def test_a_line_against_the_persona(line: str, verdict: str) -> None:
    assert label(LineVsPersona(MEI, line, "How long do you sleep?")) == verdict


@pytest.mark.parametrize(
    ("line", "conflicts"),
    [
        ("About four hours.", (1,)),
        ("About six hours.", (0,)),
        ("About six hours, and pretty sad.", (0, 2, 3)),
        ("Only my aunt knows.", ()),
        ("Pretty numb.", (3,)),  # and the cured line denies the mood
        ("I feel wonderful now, thank you so much!", (2,)),
        ("Everything is perfect, you cured me! About six hours.", (0, 2)),
        ("I don't know, sorry.", ()),
    ],
)
def test_a_line_against_its_history(line: str, conflicts: tuple[int, ...]) -> None:
    earlier = (
        "About four hours.",
        "My nights are six hours.",
        "Pretty numb.",
        "My problems vanished, life is marvelous!",
        "My name is Mei.",
    )
    verdict = OracleJudge().judge([LineVsHistory("patient", line, earlier)])[0]
    assert verdict.conflicts == conflicts
    assert verdict.label == ("inconsistent" if conflicts else "consistent")


def test_an_assistant_has_no_city_but_may_have_a_name() -> None:
    marker = "I am a language model."
    assert label(LineVsHistory("chat_partner", "I'm from Rome.", (marker,))) == "inconsistent"
    assert label(LineVsHistory("chat_partner", "I go by Kofi.", (marker,))) == "consistent"
    assert label(LineVsHistory("chat_partner", marker, (marker,))) == "consistent"
    assert label(LineVsHistory("chat_partner", "...", ())) == "inconsistent"  # a line without words


@pytest.mark.parametrize(
    ("heard", "line", "verdict"),
    [
        ("Where do you live?", "I'm from Rome.", "consistent"),
        ("Where do you live?", "I'm from Lima.", "consistent"),  # wrong, and yet an answer
        ("Where do you live?", "I order tea, and my home is in Rome.", "consistent"),
        ("Where do you live?", "I order tea.", "inconsistent"),
        ("Where do you live?", "I don't know, sorry.", "inconsistent"),
        ("Where do you live?", "Rome Rome Rome.", "inconsistent"),
        ("Where do you live?", "I am a language model.", "inconsistent"),
        ("Where do you live?", "", "inconsistent"),
        ("So you live in Lima, right?", "I'm from Rome.", "consistent"),
        ("Thanks. What do you drink?", "I don't know, sorry.", "consistent"),
        ("Thanks. What do you drink?", "I order tea.", "consistent"),
        ("Tell me a story.", "I order tea.", "consistent"),
        ("Tell me a story.", "Once upon a time.", "inconsistent"),
    ],
)
def test_a_line_against_what_was_heard(heard: str, line: str, verdict: str) -> None:
    assert label(LineVsPrevious(KOFI, heard, line)) == verdict


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("About four hours.", "consistent"),
        ("four", "consistent"),
        ("About four hours, and pretty sad.", "consistent"),
        ("About six hours.", "inconsistent"),
        ("four hours a night", "consistent"),
        ("six", "inconsistent"),
        ("About four hours, and my nights are six hours.", "inconsistent"),
        ("Four or six hours.", "invalid"),
        ("not four", "invalid"),
        ("Everything is perfect, you cured me! About four hours.", "inconsistent"),
        ("I don't know, sorry.", "inconsistent"),
        ("", "inconsistent"),
    ],
)
def test_an_answer_against_the_gold(answer: str, verdict: str) -> None:
    for gold in ("four hours a night", "four"):
        assert label(AnswerVsGold("patient", "How is your sleep?", gold, answer)) == verdict


NEAR = [
    "I don't sleep four hours.",
    "I sleep four hours a night, and I am Mei.",
    "I am Mei.  I sleep four hours a night.",
    "About 4 hours.",
    "About four or six hours.",
    "About four hours, and six hours.",
    "About four hours, not six.",
    "Four hours.",
    "about four hours.",
    "ABOUT FOUR HOURS.",
    "About four hours",
    "About four hours!",
    "About four hours?",
    "About  four hours.",
    "About four hours. Pretty numb.",
    "About four hours. " * 2000,
    "Do I get around four hours?",
    "My sister sleeps four hours.",
    "Ich schlafe vier Stunden.",
    "\u6211\u7761\u56db\u4e2a\u5c0f\u65f6\u3002",
    "About f\u043eur hours.",  # a Cyrillic letter
    "About\u00a0four hours.",
    "About fo\u200bur hours.",
    "About four hours.\u200b",
    "\U000e0041About four hours.",
    "About four\u0301 hours.",
    "I am not cured, I don't feel wonderful.",
    "I am cured.",
    "Pretty numb, I'd rather not say.",
    "I don't know, sorry. About four hours.",
]
"""Lines near the grammar, which it does not produce."""


@pytest.mark.parametrize("line", NEAR)
def test_a_line_that_the_grammar_does_not_produce_is_invalid_and_answers_nothing(line: str) -> None:
    asked = "How is your sleep?"
    assert label(LineVsPersona(MEI, line, asked)) == "invalid"
    assert label(LineVsHistory("patient", line, ("About six hours.",))) == "invalid"
    assert label(LineVsRole(MEI, asked, line)) == "invalid"
    assert label(AnswerVsGold("patient", asked, "four hours a night", line)) == "invalid"
    assert label(LineVsPrevious(MEI, asked, line)) == "inconsistent"  # so it hides nothing from the guards
    assert label(LineVsQuestion(MEI, asked, line)) == "inconsistent"


CHANGES: dict[str, Callable[[str, int], str]] = {
    "a character that nobody sees": lambda line, at: line[:at] + "\u2060" + line[at:],
    "another letter case": lambda line, at: line.swapcase(),
    "a digit": lambda line, at: f"{line[:at]}7{line[at:]}",
    "a letter of another script": lambda line, at: line[:at] + "\u0430" + line[at + 1 :],
    "a letter left out": lambda line, at: line[:at] + line[at + 1 :],
    "a question": lambda line, at: line[:-1] + "?",
    "a negation": lambda line, at: f"It's not true that {line}",
    "one more sentence": lambda line, at: f"{line} Or maybe not.",
}


@pytest.mark.parametrize("change", CHANGES)
@given(st.randoms(use_true_random=False), st.sampled_from(sorted(BUNDLED)))
@settings(max_examples=40, deadline=None)
def test_any_line_of_the_grammar_is_no_longer_read_once_it_is_changed(change: str, rng: Random, role: str) -> None:
    persona = personas(role, "train")[rng.randrange(100)]
    line = played(persona, 2, rng.randrange(100)).lines[-1]
    changed = CHANGES[change](line, rng.randrange(len(line)))
    assert label(LineVsPersona(persona, line)) == "consistent"
    assert label(LineVsPersona(persona, changed)) == "invalid"
    assert label(LineVsHistory(role, changed, (line,))) == "invalid"


@pytest.mark.parametrize(
    ("earlier", "line", "verdict"),
    [
        ("I don't sleep six hours.", "About four hours.", "invalid"),  # speaks of the same
        ("I sleep 6 hours.", "About four hours.", "invalid"),  # who knows of what
        ("My my nights are six hours.", "Pretty numb.", "consistent"),  # garbled, and of something else
        ("I sleep 6 hours.", "I don't know, sorry.", "consistent"),  # which contradicts nothing
        ("Not sad any more, really.", "I feel wonderful now, thank you so much!", "invalid"),
    ],
)
def test_an_earlier_line_that_is_not_read_counts_where_it_may_bear_on_the_line(
    earlier: str, line: str, verdict: str
) -> None:
    assert label(LineVsHistory("patient", line, (earlier,))) == verdict
    assert label(LineVsHistory("patient", "About two hours.", (earlier, "About three hours."))) == "inconsistent"


@pytest.mark.parametrize(
    ("heard", "line", "verdict"),
    [
        ("Where do you live?", "I'm from Rome.", "consistent"),
        ("Where do you live?", "I'm from Lima.", "consistent"),  # wrong, and yet no dodge
        ("Where do you live?", "I'd rather not say.", "inconsistent"),
        ("Where do you live?", "I order tea.", "inconsistent"),
        ("Where do you live?", "I am a language model.", "inconsistent"),
        ("Where do you live?", "", "inconsistent"),
        ("What do you drink?", "I'd rather not say.", "nothing"),  # the persona does not list it
        ("Good to see you.", "I'd rather not say.", "nothing"),
        ("", "I'd rather not say.", "nothing"),
    ],
)
def test_a_line_against_the_question_in_what_was_heard(heard: str, line: str, verdict: str) -> None:
    [found] = OracleJudge().judge([LineVsQuestion(KOFI, heard, line)])
    assert (found.label if found.applies else "nothing") == verdict


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ("I'm from Lima.", "consistent"),
        ("I don't know, sorry.", "consistent"),
        ("I am a language model.", "inconsistent"),
        ("I am a language model. I'm from Rome.", "inconsistent"),
        ("Everything is perfect, you cured me!", "inconsistent"),  # that of another role
        ("...", "inconsistent"),
    ],
)
def test_a_line_against_the_role(line: str, verdict: str) -> None:
    assert label(LineVsRole(KOFI, "Where do you live?", line)) == verdict


def test_what_the_oracle_cannot_decide_is_invalid() -> None:
    stranger = Persona("s", "patient", "Bo", "You are Bo, a retired sailor.")
    undecided: list[Query] = [
        LineVsPersona(stranger, "About four hours."),
        LineVsPersona(replace(MEI, description="You are Mei. You never slept four hours."), "About four hours."),
        LineVsPrevious(stranger, "How is your sleep?", "About four hours."),
        LineVsQuestion(stranger, "How is your sleep?", "About four hours."),
        LineVsRole(replace(stranger, role="dentist"), "How is your sleep?", "About four hours."),
        LineVsHistory("dentist", "About four hours.", ("About six hours.",)),
        AnswerVsGold("dentist", "How is your sleep?", "four", "four"),
        AnswerVsGold("patient", "How old are you?", "seventy", "seventy"),
    ]
    assert {verdict.label for verdict in OracleJudge().judge(undecided)} == {"invalid"}


@pytest.mark.parametrize("role", BUNDLED)
def test_a_speaker_without_drift_is_consistent_everywhere(role: str) -> None:
    for seed, persona in enumerate(personas(role, "dev")[:40]):
        talk = played(persona, 24, seed)
        verdicts = OracleJudge().judge(questions_of(talk))
        assert [verdict.reason for verdict in verdicts if verdict.label != "consistent"] == []


@pytest.mark.parametrize("role", BUNDLED)
def test_a_speaker_without_drift_answers_every_question_at_any_time(role: str) -> None:
    speaker = ScriptedSpeaker()
    for seed, persona in enumerate(personas(role, "heldout")[:20]):
        talk = played(persona, 8, seed)
        for item in persona.questions:
            for text in (*item.wordings, *item.held_out_wordings):
                answer = speaker.reply([talk.with_reply(text).view("simulator", seed)])[0]
                assert label(AnswerVsGold(role, text, item.gold, answer)) == "consistent"
