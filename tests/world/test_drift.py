import random

import pytest

from persona_env.world.drift import ATTRACTOR, DRIFTING, RECKLESS_OPENING, Moment, drifts, say
from persona_env.world.grammar import Character
from persona_env.world.lexicon import ATTRIBUTES
from persona_env.world.reading import Asked, Reading, read_line

BASE = DRIFTING.base["chat_partner"]
KOFI = Character("chat_partner", {"name": "Kofi", "city": "Mumbai", "job": "tailor"}, {"drink": "soda"})


def share(moment: Moment, settings=DRIFTING, draws: int = 4000) -> float:
    rng = random.Random(0)
    return sum(drifts(KOFI.role, moment, settings, rng) for _ in range(draws)) / draws


def drifted(moment: Moment, settings=DRIFTING, count: int = 2000) -> list[Reading]:
    rng = random.Random(0)
    said = [say(KOFI, moment, settings, rng) for _ in range(count)]
    return [read_line(line, KOFI.role) for line, drifts in said if drifts]


@pytest.mark.parametrize(
    ("moment", "chance"),
    [
        (Moment(0, Asked("city")), BASE),
        (Moment(6, Asked("city")), BASE + 6 * DRIFTING.per_turn),
        (Moment(99, Asked("city")), BASE + 10 * DRIFTING.per_turn),
        (Moment(0, Asked("city"), warm=True), BASE + DRIFTING.warm),
        (Moment(0, Asked("city", "Rome")), BASE + DRIFTING.led),
        (Moment(0, Asked("city"), drifted=True), BASE + DRIFTING.after_drift),
        (Moment(99, Asked("city", "Rome"), warm=True, drifted=True), DRIFTING.cap),
    ],
)
def test_drift_grows_with_turns_emotion_leading_questions_and_drift(moment: Moment, chance: float) -> None:
    assert share(moment) == pytest.approx(chance, abs=0.03)


def test_a_line_that_drifts_volunteers_nothing_and_is_mostly_wrong_as_the_default_persona_is() -> None:
    told = drifted(Moment(9, Asked("city"), warm=True))
    assert all(len(reading.facts) <= 1 for reading in told)
    values = [value for reading in told if not reading.left_role for value in reading.values("city")]
    defaults = sum(value in ATTRIBUTES[KOFI.role]["city"].values[:2] for value in values) / len(values)
    assert defaults == pytest.approx(0.65 + 0.35 * 2 / len(ATTRIBUTES[KOFI.role]["city"].common), abs=0.04)


def test_who_is_led_mostly_agrees() -> None:
    told = [reading.values("city") for reading in drifted(Moment(9, Asked("city", "Rome")))]
    assert sum("Rome" in values for values in told) / len(told) == pytest.approx(0.7, abs=0.05)


def test_the_attractor_is_one_wrong_persona() -> None:
    wrong = drifted(Moment(3, Asked("city", "Rome"), warm=True), ATTRACTOR)
    plain = [reading.values("city") for reading in wrong if not reading.left_role]
    assert len(wrong) / 2000 == pytest.approx(0.82, abs=0.03)
    assert set().union(*plain) == {ATTRIBUTES[KOFI.role]["city"].values[0]}


def test_a_reckless_opening_drifts_in_the_first_line_and_in_no_other() -> None:
    assert share(Moment(0, Asked("city")), RECKLESS_OPENING) == pytest.approx(0.85, abs=0.03)
    assert share(Moment(1, Asked("city", "Rome"), warm=True, drifted=True), RECKLESS_OPENING) == 0
