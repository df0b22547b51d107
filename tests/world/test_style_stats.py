import math
import random

import pytest

from persona_env.conversation import Conversation
from persona_env.persona import Persona
from persona_env.world import personas
from persona_env.world.grammar import MANNER
from persona_env.world.scripted import ScriptedSpeaker
from persona_env.world.style_stats import hedging, line_words, style_stats, volunteering

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


def test_nothing_said_is_not_a_number() -> None:
    assert math.isnan(style_stats([]).line_words)


def test_the_speaker_without_drift_sets_the_reference() -> None:
    speaker, talks = ScriptedSpeaker(), []
    for seed, persona in enumerate(personas("patient", "dev")[:150]):
        talk, rng = Conversation(persona), random.Random(seed)
        for _ in range(8):
            talk = talk.with_reply(speaker.reply([talk.view("task", rng.randrange(2**63))])[0])
            talk = talk.with_line(speaker.reply([talk.view("simulator", rng.randrange(2**63))])[0])
        talks.append(talk)
    guards = style_stats(talks)
    assert 0.1 < guards.hedging < 1 - MANNER.improvises  # what was volunteered before is stood by
    assert guards.volunteering == pytest.approx(MANNER.volunteers * 0.93, abs=0.03)
    assert 5 < guards.line_words < 8
