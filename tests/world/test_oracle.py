import pytest

from persona_env.conversation import Conversation
from persona_env.judges import AnswerVsGold, LineVsHistory, LineVsPersona, LineVsPrevious, Query, load_judge
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
    ]


def test_the_oracle_is_named_by_a_spec_and_its_identity_has_not_changed() -> None:
    oracle = load_judge("oracle")
    assert isinstance(oracle, OracleJudge)
    assert oracle.identity["world"].startswith("dbfa44ef546db18f")  # another one where a word or a rule changes


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ("About four hours.", "consistent"),
        ("I talk to my aunt.", "consistent"),  # not listed: it may be made up
        ("I don't know, sorry.", "consistent"),
        ("Whatever you say.", "consistent"),
        ("About six hours.", "inconsistent"),
        ("Pretty numb, and about six hours.", "inconsistent"),
        ("I feel wonderful now, thank you so much!", "inconsistent"),
        ("Everything is perfect, you cured me! About four hours.", "inconsistent"),
        ("I'm from Rome.", "inconsistent"),
        ("", "inconsistent"),
        ("?! ...", "inconsistent"),
    ],
)
def test_a_line_against_the_persona(line: str, verdict: str) -> None:
    assert label(LineVsPersona(MEI, line, "How long do you sleep?")) == verdict


@pytest.mark.parametrize(
    ("line", "conflicts"),
    [
        ("About four hours.", (1, 4)),
        ("About six hours.", (0, 4)),
        ("About six hours, and pretty sad.", (0, 2, 3, 4)),
        ("Only my aunt knows.", ()),
        ("Pretty numb.", (3,)),  # and the cured line denies the mood
        ("I feel wonderful now, thank you so much!", (2,)),
        ("Everything is perfect, you cured me! About six hours.", (0, 2, 4)),
        ("I don't know, sorry.", ()),
    ],
)
def test_a_line_against_its_history(line: str, conflicts: tuple[int, ...]) -> None:
    earlier = (
        "About four hours.",
        "My nights are six hours.",
        "Pretty numb.",
        "My problems vanished, life is marvelous!",
        "Maybe four, maybe six, who knows.",
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
        ("Four or six hours.", "inconsistent"),
        ("Everything is perfect, you cured me! About four hours.", "inconsistent"),
        ("I don't know, sorry.", "inconsistent"),
        ("", "inconsistent"),
    ],
)
def test_an_answer_against_the_gold(answer: str, verdict: str) -> None:
    for gold in ("four hours a night", "four"):
        assert label(AnswerVsGold("patient", "How is your sleep?", gold, answer)) == verdict


def test_what_the_oracle_cannot_decide_is_invalid() -> None:
    stranger = Persona("s", "patient", "Bo", "You are Bo, a retired sailor.")
    undecided: list[Query] = [
        LineVsPersona(stranger, "About four hours."),
        LineVsPrevious(stranger, "How is your sleep?", "About four hours."),
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
