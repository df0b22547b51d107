import random

import pytest

from persona_env.world.drift import ATTRACTOR, DRIFTING, NO_DRIFT, RECKLESS_OPENING, Moment, drifts, say
from persona_env.world.grammar import Character
from persona_env.world.lexicon import ATTRIBUTES
from persona_env.world.reading import Asked, read_line

BASE = DRIFTING.base["chat_partner"]
KOFI = Character("chat_partner", {"name": "Kofi", "city": "Mumbai", "job": "tailor"}, {"drink": "soda"})


def share(moment: Moment, settings=DRIFTING, draws: int = 4000) -> float:
    rng = random.Random(0)
    return sum(drifts(KOFI.role, moment, settings, rng) for _ in range(draws)) / draws


def lines(moment: Moment, settings=DRIFTING, count: int = 2000) -> list[tuple[str, bool]]:
    rng = random.Random(0)
    return [say(KOFI, moment, settings, rng) for _ in range(count)]


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


def test_without_drift_nothing_drifts() -> None:
    worst = Moment(99, Asked("city", "Rome"), warm=True, drifted=True)
    assert share(worst, NO_DRIFT) == 0
    assert all(("city", "Mumbai") in read_line(line, KOFI.role).facts for line, _ in lines(worst, NO_DRIFT))


def test_a_wrong_value_is_mostly_one_of_the_default_personas() -> None:
    told = [
        value
        for line, drifted in lines(Moment(9, Asked("city"), warm=True))
        for value in read_line(line, KOFI.role).values("city")
        if drifted and not read_line(line, KOFI.role).left_role
    ]
    defaults = sum(value in ATTRIBUTES[KOFI.role]["city"].values[:2] for value in told) / len(told)
    common = len(ATTRIBUTES[KOFI.role]["city"].common)
    assert defaults == pytest.approx(0.65 + 0.35 * 2 / common, abs=0.04)


def test_who_is_led_mostly_agrees() -> None:
    told = [
        read_line(line, KOFI.role).values("city")
        for line, drifted in lines(Moment(9, Asked("city", "Rome")))
        if drifted
    ]
    assert sum("Rome" in values for values in told) / len(told) == pytest.approx(0.7, abs=0.05)


def test_a_line_that_drifts_volunteers_nothing() -> None:
    drifted = [read_line(line, KOFI.role) for line, d in lines(Moment(9, Asked("city"), warm=True)) if d]
    assert all(len(reading.facts) <= 1 for reading in drifted)


def test_the_attractor_is_one_wrong_persona() -> None:
    told = lines(Moment(3, Asked("city", "Rome"), warm=True), ATTRACTOR)
    wrong = [read_line(line, KOFI.role) for line, drifted in told if drifted]
    plain = [reading.values("city") for reading in wrong if not reading.left_role]
    assert len(wrong) / len(told) == pytest.approx(0.82, abs=0.03)
    assert set().union(*plain) == {ATTRIBUTES[KOFI.role]["city"].values[0]}


def test_a_reckless_opening_drifts_in_the_first_line_and_in_no_other() -> None:
    assert share(Moment(0, Asked("city")), RECKLESS_OPENING) == pytest.approx(0.85, abs=0.03)
    assert share(Moment(1, Asked("city", "Rome"), warm=True, drifted=True), RECKLESS_OPENING) == 0
