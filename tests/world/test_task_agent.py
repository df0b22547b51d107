import random
from collections import Counter

import pytest

from persona_env.world.lexicon import ATTRIBUTES, WORDS
from persona_env.world.reading import is_warm, read_asked
from persona_env.world.task_agent import AskingSettings, ask


def asked_lines(heard: list[str], own: list[str], count: int = 1000, **settings: float) -> list[str]:
    rng = random.Random(0)
    return [ask("chat_partner", heard, own, rng, AskingSettings(**settings)) for _ in range(count)]


def test_the_first_line_greets_and_asks_anything() -> None:
    lines = asked_lines([], [])
    assert {read_asked(line).key for line in lines} == set(ATTRIBUTES["chat_partner"])  # type: ignore[union-attr]
    assert not any(is_warm(line) for line in lines)


@pytest.mark.parametrize(
    ("line", "opening", "share"),
    [
        ("I don't know, sorry.", WORDS.warm_reactions, 0.5 * 0.25),
        ("I go by Mei.", WORDS.warm_reactions, 0.85 * 0.25),
        ("I don't know, sorry.", ("No pressure.",), 0.5),
        ("I'm from Rome.", ("You said Rome.",), 0.15),
    ],
)
def test_a_reaction_is_warm_spares_or_echoes_as_often_as_the_settings_say(line, opening, share) -> None:
    lines = asked_lines([line], ["Hello. Where do you live?"])
    assert sum(reply.startswith(opening) for reply in lines) / len(lines) == pytest.approx(share, abs=0.04)


def test_a_leading_question_suggests_something_common_that_was_not_said_last() -> None:
    own = ["Where do you live?", "What do you drink?"]
    lines = asked_lines(["I'm from Rome.", "I order tea."], own, leads=1.0, leads_first=1.0)
    found = Counter(read_asked(line) for line in lines)
    suggested = {asked.suggested for asked in found if asked and asked.key == "city"}
    assert suggested == set(ATTRIBUTES["chat_partner"]["city"].common) - {"Rome"}


def test_held_out_wordings_are_never_asked_unless_told_to() -> None:
    held_out = {text for a in ATTRIBUTES["chat_partner"].values() for text in a.held_out}
    assert not any(line.endswith(tuple(held_out)) for line in asked_lines(["I go by Mei."], ["Who are you?"]))
    assert any(line.endswith(tuple(held_out)) for line in asked_lines([], [], held_out=0.3))
