import re
from collections import Counter

import pytest

from persona_env.roles import BUNDLED
from persona_env.world.lexicon import ATTRIBUTES, WORDS

ALL = {key: attribute for role in ATTRIBUTES.values() for key, attribute in role.items()}
VALUES = [value.lower() for attribute in ALL.values() for value in attribute.values]
DRIFT_LINES = [line for its in WORDS.roles.values() for line in its.drift_lines]


def words(*texts: str) -> set[str]:
    return {word.lower() for text in texts for word in re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)?", text.replace("{}", ""))}


def templates() -> set[str]:
    own = (text for a in ALL.values() for text in (a.sentence, *a.questions, *a.held_out, *a.answers, a.gold))
    other = (*WORDS.hedges, *WORDS.greetings, *WORDS.plain_reactions, *WORDS.warm_reactions)
    return words(*own, *other, WORDS.hedge_reaction, WORDS.echo_reaction, "So right and")


def test_every_role_has_eight_attributes_with_eight_values() -> None:
    assert set(ATTRIBUTES) == set(BUNDLED)
    assert {len(attributes) for attributes in ATTRIBUTES.values()} == {8}
    assert {len(set(attribute.values)) for attribute in ALL.values()} == {8}
    assert len(ALL) == 22


def test_every_value_word_belongs_to_one_attribute() -> None:
    assert [value for value, count in Counter(VALUES).items() if count > 1] == []


def test_no_value_word_is_a_template_or_drift_word() -> None:
    assert set(VALUES) & (templates() | words(*DRIFT_LINES)) == set()


def test_marker_words_stand_in_every_drift_line_and_nowhere_else() -> None:
    assert WORDS.markers & templates() == set()
    assert all(words(line) & WORDS.markers for line in DRIFT_LINES)


def test_every_question_wording_asks_for_one_attribute() -> None:
    counts = Counter(text for a in ALL.values() for text in (*a.questions, *a.held_out))
    assert [text for text, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("attribute", ALL.values(), ids=lambda attribute: attribute.key)
def test_an_attribute_has_enough_wordings_and_no_template_opens_with_the_value(attribute) -> None:
    assert len(attribute.questions) >= 4
    assert len(attribute.held_out) == 2
    assert len(attribute.answers) >= 4
    assert not any(text.startswith("{}") for text in (attribute.sentence, *attribute.answers))
    assert all(text.count("{}") == 1 and text.endswith(".") for text in attribute.answers)


@pytest.mark.parametrize("attribute", ALL.values(), ids=lambda attribute: attribute.key)
def test_no_answer_is_the_persona_sentence_in_the_first_person(attribute) -> None:
    person = {"you": "i", "your": "my", "are": "am", "me": "you"}
    sentence = [person.get(word, word) for word in re.findall(r"[\w']+|{}", attribute.sentence.lower())]
    for answer in attribute.answers:
        said = re.findall(r"[\w']+|{}", answer.lower().replace("i'm", "i am"))
        assert said != sentence


def test_half_of_the_attributes_are_denied_by_a_drift_line() -> None:
    for role, its in WORDS.roles.items():
        assert len(its.denied) == 4
        assert its.denied < set(ATTRIBUTES[role])
