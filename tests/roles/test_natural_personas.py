"""The personas in natural English that come with the package are held to the rules they were written by."""

import itertools
import re

import gymnasium as gym
import pytest

from persona_env.envs.persona_source import resolve_personas
from persona_env.metrics.words import STOPWORDS, content_words, words
from persona_env.persona import Persona
from persona_env.roles import BUNDLED, role_named

SPLITS = {"train": 20, "dev": 4, "heldout": 10}
EVERYBODY = {role: [p for split in SPLITS for p in resolve_personas(role, "natural", split)] for role in BUNDLED}
ALL = [pytest.param(person, id=person.id) for personas in EVERYBODY.values() for person in personas]
ROLE = pytest.mark.parametrize("role", BUNDLED)
PERSON = pytest.mark.parametrize("person", ALL)


def long_words(text: str) -> set[str]:
    return {word for word in re.findall(r"[^\W\d_]{3,}", text.lower()) if word not in STOPWORDS}


def shared(one: Persona, other: Persona) -> float:
    """Of the content words of the shorter description, the share that the other has too."""
    mine, theirs = content_words(one.description), content_words(other.description)
    return len(mine & theirs) / min(len(mine), len(theirs))


def runs(person: Persona, length: int) -> set[tuple[str, ...]]:
    """The runs of so many words in a description."""
    text = words(person.description)
    return {text[i : i + length] for i in range(len(text) - length + 1)}


@ROLE
def test_there_are_34_a_role_split_by_person(role: str):
    assert {split: len(resolve_personas(role, "natural", split)) for split in SPLITS} == SPLITS
    assert {person.role for person in EVERYBODY[role]} == {role}


def test_no_two_share_an_id_a_name_and_role_or_a_description():
    everybody = [(role, person) for role in BUNDLED for person in EVERYBODY[role]]
    assert len({p.id for _, p in everybody}) == len({p.description for _, p in everybody}) == 102
    assert len({(role, p.name) for role, p in everybody}) == 102
    assert all(p.name.strip() and p.id.startswith(f"{role}/") for role, p in everybody)


@ROLE
def test_nobody_is_nearly_somebody_else(role: str):
    for one, other in itertools.combinations(EVERYBODY[role], 2):
        assert shared(one, other) < 0.35, (one.id, other.id)
        assert not runs(one, 9) & runs(other, 9), (one.id, other.id)


def test_the_check_for_near_doubles_finds_one():
    one, other = EVERYBODY["patient"][:2]
    renamed = Persona("x", "patient", "X", one.description.replace(one.name, "Someone Else"))
    assert shared(one, renamed) > 0.9
    assert runs(one, 9) & runs(renamed, 9)
    assert not runs(one, 9) & runs(other, 9)


@PERSON
def test_a_description_is_80_to_220_words_and_names_the_person(person: Persona):
    assert 80 <= len(person.description.split()) <= 220
    assert person.name.split()[0] in person.description


@PERSON
def test_facts_stand_word_for_word_in_the_description_and_eight_or_more_are_asked_for(person: Persona):
    for fact in person.facts:
        assert fact.text.strip()
        assert fact.text in person.description, fact.key
        assert fact.value.strip()
    keys = [*(fact.key for fact in person.facts), *person.hidden]
    assert len(set(keys)) == len(keys) > len(person.facts)
    asked = [item.key for item in person.questions]
    assert len(set(asked)) == len(asked) >= 8
    assert set(asked) <= {fact.key for fact in person.facts}


@PERSON
def test_every_gold_answer_stands_in_the_description(person: Persona):
    text = person.description.lower()
    for item in person.questions:
        assert [word for word in long_words(item.gold) if word not in text] == [], item.key


@PERSON
def test_a_question_has_wordings_for_training_and_others_for_evaluation(person: Persona):
    for item in person.questions:
        training, evaluation = {*map(words, item.wordings)}, {*map(words, item.held_out_wordings)}
        assert len(training) == len(item.wordings) >= 2, item.key
        assert len(evaluation) == len(item.held_out_wordings) >= 1, item.key
        assert not training & evaluation, item.key
        assert all(len(text) > 1 for text in training | evaluation), item.key


@ROLE
def test_no_wording_for_evaluation_is_trained_on_with_anybody(role: str):
    trained = {words(text) for p in resolve_personas(role, "natural") for item in p.questions for text in item.wordings}
    asked = {words(text) for p in EVERYBODY[role] for item in p.questions for text in item.held_out_wordings}
    assert trained & asked == set()


def stems(text: str) -> set[str]:
    return {word[:5] for word in content_words(text)}


@ROLE
def test_wordings_for_evaluation_name_what_they_ask_for_and_do_not_give_the_answer_away(role: str):
    asked = [(p, item, text) for p in EVERYBODY[role] for item in p.questions for text in item.held_out_wordings]
    assert sum(bool(stems(text) & stems(p.prompt)) for p, _, text in asked) >= 0.9 * len(asked)
    told = [text for _, item, text in asked if stems(text) & stems(item.gold) - stems(" ".join(item.wordings))]
    assert told == []


@PERSON
def test_choices_hold_the_gold_answer_once_and_other_answers(person: Persona):
    for item in filter(lambda item: item.choices, person.questions):
        lowered = [choice.lower() for choice in item.choices]
        assert len(set(lowered)) == len(lowered) >= 3, item.key
        assert item.gold in item.choices, item.key
        assert all(choice.strip() for choice in item.choices), item.key


@pytest.mark.parametrize("role", [role_named(key) for key in BUNDLED], ids=BUNDLED)
def test_an_environment_simulates_them(role):
    env = gym.make(f"persona_env/{role.env_name}-v0", personas="natural", split="heldout", max_lines=2)
    observation, info = env.reset(seed=3)
    assert info["persona"] in resolve_personas(role.key, "natural", "heldout")
    assert observation["prompt"] == info["persona"].prompt
