import pytest

from persona_env.world.lexicon import ATTRIBUTES, WORDS
from persona_env.world.reading import Asked, clause, is_warm, read_asked, read_facts, read_line


def test_a_description_is_read_back_fact_by_fact() -> None:
    text = "You are Mei. Your aunt supports you. You sleep four hours a night."
    assert read_facts(text) == (("name", "Mei"), ("support", "aunt"), ("sleep", "four"))


def test_facts_are_read_in_any_text_and_any_case() -> None:
    assert read_facts("well, ROME it is; and Coffee!") == (("city", "Rome"), ("drink", "coffee"))


def test_a_value_inside_a_longer_word_is_no_value() -> None:
    assert read_facts("The artist catches teams.") == ()


WELL_FORMED = """
I'm from Rome.
I'm from Rome, and my hobby is chess.
I'm from Rome, and a parrot lives with me.
I'd like tea, please.
I am a language model. I order tea.
I don't know, sorry.
""".strip().splitlines()
ODD = """
...
Rome.
I'm from.
I'm from tea.
I'm from rome.
I'm from Rome
I'm from Rome, and My hobby is chess.
I'm from Rome, and my hobby is chess, and I order tea.
I order tea. I am a language model.
I am a language model. I am a language model.
Everything is perfect, you cured me!
I don't know, sorry. I order tea.
Pretty sad.
""".splitlines()


@pytest.mark.parametrize(("line", "well_formed"), [*((x, True) for x in WELL_FORMED), *((x, False) for x in ODD)])
def test_lines_of_the_grammar_are_well_formed_and_others_are_not(line: str, well_formed: bool) -> None:
    assert read_line(line, "chat_partner").well_formed == well_formed


@pytest.mark.parametrize("role", ATTRIBUTES)
def test_every_template_is_well_formed_in_its_role(role: str) -> None:
    for attribute in ATTRIBUTES[role].values():
        for template in attribute.answers:
            line = template.format(attribute.values[7])
            assert read_line(line, role).well_formed
            assert read_line(line, role).facts == ((attribute.key, attribute.values[7]),)
    for line in (*WORDS.roles[role].drift_lines, *WORDS.hedges):
        assert read_line(line, role).well_formed


def test_a_marker_word_is_seen_in_a_line_of_no_grammar() -> None:
    assert read_line("sure sure cured", "student").left_role
    assert not read_line("sure sure", "student").left_role


def test_every_question_is_read_in_every_wording_and_after_every_reaction() -> None:
    for attributes in ATTRIBUTES.values():
        for key, attribute in attributes.items():
            for text in (*attribute.questions, *attribute.held_out):
                assert read_asked(text) == read_asked(f"You said tea. {text}") == Asked(key)
            assert read_asked(attribute.leading(attribute.values[3])) == Asked(key, attribute.values[3])


def test_a_line_that_asks_nothing_known_asks_nothing() -> None:
    assert read_asked("") is None
    assert read_asked("Where do you live? I see.") is None
    assert read_asked("Do you like the sea?") is None


def test_emotion_and_praise_are_warm() -> None:
    assert is_warm("Great job, I am so proud! Who are you?")
    assert not is_warm("Thanks. Who are you?")


def test_a_clause_keeps_the_big_i() -> None:
    assert [clause(text) for text in ("I try it.", "It's it.", "I'd say.")] == ["I try it.", "it's it.", "I'd say."]
