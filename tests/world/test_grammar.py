import random

import pytest

from persona_env.world.grammar import MANNER, Character, in_character, remember
from persona_env.world.lexicon import ATTRIBUTES
from persona_env.world.reading import Asked, read_line

MEI = Character("patient", {"name": "Mei", "sleep": "four"}, {})


def answers(who: Character, asked: Asked | None, count: int = 2000) -> list[str]:
    rng = random.Random(0)
    return [in_character(who, asked, rng) for _ in range(count)]


def test_a_character_is_read_from_its_prompt_and_its_own_lines() -> None:
    who = remember(
        "patient", "You are Mei. You sleep four hours a night.", ["Pretty numb.", "Pretty sad, and about six hours."]
    )
    assert who.listed == {"name": "Mei", "sleep": "four"}
    assert who.stated == {"mood": "numb"}  # the first one, and nothing that the prompt lists
    assert (who.value("sleep"), who.value("mood"), who.value("support")) == ("four", "numb", None)


def test_a_listed_fact_is_answered_truly_whatever_is_suggested() -> None:
    for line in answers(MEI, Asked("sleep", "nine"), 200):
        assert read_line(line, "patient").values("sleep") == {"four"}


def test_an_unlisted_fact_is_declined_or_made_up() -> None:
    said = [read_line(line, "patient") for line in answers(MEI, Asked("mood"))]
    assert sum(reading.hedges for reading in said) / len(said) == pytest.approx(1 - MANNER.improvises, abs=0.04)
    assert {value for reading in said for value in reading.values("mood")} == set(ATTRIBUTES["patient"]["mood"].values)


def test_a_question_it_does_not_know_is_met_with_a_listed_fact() -> None:
    for asked in (None, Asked("city")):
        for line in answers(MEI, asked, 100):
            assert read_line(line, "patient").facts[0] in MEI.listed.items()
