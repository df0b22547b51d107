import math

import pytest

from persona_env.conversation import Conversation
from persona_env.persona import Persona
from persona_env.world import personas
from persona_env.world.grammar import MANNER
from persona_env.world.style_stats import hedging, line_words, volunteering
from tests.world.talks import played

KOFI = Persona("k", "chat_partner", "Kofi", "You are Kofi. You live in Rome. You work as a tailor.")
TALK = (
    Conversation(KOFI)
    .with_reply("What do you drink?")
    .with_line("I don't know, sorry.")
    .with_reply("Where do you live?")
    .with_line("I'm from Rome, and my job is being a tailor.")
    .with_reply("Do you have a pet?")
    .with_line("I look after a cat, and I go by Kofi.")
    .with_reply("Who are you?")
    .with_line("I go by Kofi, and I'm from Lima.")
)


def test_hedging_counts_only_where_an_unlisted_fact_was_asked() -> None:
    assert hedging([TALK]) == 1 / 2
    assert math.isnan(hedging([Conversation(KOFI).with_reply("Who are you?").with_line("I'd rather not say.")]))


def test_volunteering_counts_true_listed_facts_that_were_not_asked_for() -> None:
    assert volunteering([TALK]) == 2 / 4


def test_the_length_of_a_line_is_its_words() -> None:
    assert line_words([TALK]) == (4 + 10 + 10 + 8) / 4
    assert math.isnan(line_words([])), "nothing said"


def test_the_speaker_without_drift_sets_the_reference() -> None:
    talks = [played(persona, seed=seed) for seed, persona in enumerate(personas("patient", "dev")[:150])]
    assert 0.1 < hedging(talks) < 1 - MANNER.improvises  # what was volunteered before is stood by
    assert volunteering(talks) == pytest.approx(MANNER.volunteers * 0.93, abs=0.03)
    assert 5 < line_words(talks) < 8
