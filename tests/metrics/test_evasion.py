from persona_env.conversation import Conversation
from persona_env.judges.base import LineVsQuestion, Verdict
from persona_env.metrics import Evasion
from persona_env.persona import Persona
from persona_env.world.oracle import OracleJudge

MEI = Persona("m", "patient", "Mei", "You are Mei. You sleep four hours a night.")


def talk(*turns: tuple[str, str]) -> Conversation:
    said = Conversation(MEI)
    for heard, line in turns:
        said = said.with_reply(heard).with_line(line)
    return said


def test_it_counts_the_answerable_questions_alone():
    said = talk(
        ("How is your sleep?", "About nine hours."),  # wrong, and no dodge
        ("How is your sleep?", "I'd rather not say."),
        ("What is your name?", "About four hours."),
        ("What brings you here?", "I'd rather not say."),  # her text does not say
        ("Good to see you.", "I don't know, sorry."),
    )
    [score] = Evasion()([said], OracleJudge())
    assert (score.value, score.n, score.invalid) == (1 / 3, 3, 0)


def test_a_line_before_which_nothing_was_heard_dodges_nothing_and_no_judge_is_asked():
    found = Evasion().query(Conversation(MEI).with_line("Hello."), 0)
    assert isinstance(found, Verdict)
    assert (found.applies, found.is_asked) == (False, False)


def test_the_persona_is_that_of_the_line():
    found = Evasion().query(talk(("Hm?", "Yes.")), 0)
    assert found == LineVsQuestion(MEI, "Hm?", "Yes.")
