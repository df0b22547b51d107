import random
from dataclasses import replace

import pytest

from persona_env.errors import InputError
from persona_env.persona import Persona
from persona_env.roles import BUNDLED
from persona_env.world import SPLITS, personas
from persona_env.world.lexicon import ATTRIBUTES, HELD_VALUES
from persona_env.world.persona_space import are_readable, check_readable, make_persona, sample_values, split_of
from persona_env.world.reading import read_facts


@pytest.mark.parametrize("role", BUNDLED)
def test_training_personas_list_no_held_value(role: str) -> None:
    for persona in personas(role)[:2000]:
        assert not any(ATTRIBUTES[role][fact.key].values.index(fact.value) in HELD_VALUES for fact in persona.facts)


def test_nobody_is_in_two_splits_and_evaluation_people_have_held_values_and_a_reserved_pair() -> None:
    rng = random.Random(0)
    for split in SPLITS:
        for _ in range(400):
            values = sample_values(rng, split)
            reserved = any(values[i] == values[i - 1] for i in range(8))
            assert split_of(values) == split
            assert (sum(value in HELD_VALUES for value in values) >= 2, reserved) == ((split != "train"),) * 2


@pytest.mark.parametrize("role", BUNDLED)
def test_held_out_means_unseen_no_persona_lists_what_one_of_training_does_whatever_their_names(role: str) -> None:
    def listed(split: str) -> list[frozenset[tuple[str, str]]]:
        return [frozenset((f.key, f.value) for f in p.facts if f.key != "name") for p in personas(role, split)]

    trained_on = {*listed("train")}
    assert len(trained_on) > 4000
    for split in ("dev", "heldout"):
        assert trained_on.isdisjoint(listed(split))


def test_pretraining_people_are_in_no_evaluation_split_and_have_every_value() -> None:
    rng = random.Random(0)
    drawn = [sample_values(rng, None) for _ in range(500)]
    assert {split_of(values) for values in drawn} <= {None, "train"}
    assert {value for values in drawn for value in values} == set(range(8))


@pytest.mark.parametrize("role", BUNDLED)
@pytest.mark.parametrize("split", SPLITS)
def test_a_persona_says_what_it_lists_and_hides_the_rest(role: str, split: str) -> None:
    people = personas(role, split)
    assert len(people) == SPLITS[split]
    for persona in people[:50]:
        keys = [fact.key for fact in persona.facts]
        assert 5 <= len(keys) <= 7
        assert sorted((*keys, *persona.hidden)) == sorted(ATTRIBUTES[role])
        assert read_facts(persona.description) == tuple((f.key, f.value) for f in persona.facts)
        assert persona.description == " ".join(fact.text for fact in persona.facts)
        assert [item.key for item in persona.questions] == keys
        assert all(dict(read_facts(q.gold)) == {q.key: persona.value(q.key)} for q in persona.questions)
        assert all(set(q.wordings).isdisjoint(q.held_out_wordings) for q in persona.questions)


def test_a_persona_has_not_changed_since_it_was_published() -> None:
    assert personas("patient", "dev")[3].description == (
        "You are Fatima. It began last August. You came because of insomnia. Your cousin supports you. "
        "You cope by shopping."
    )


def test_facts_are_listed_in_many_orders() -> None:
    rng = random.Random(0)
    orders = {tuple(fact.key for fact in make_persona("patient", range(8), rng).facts) for _ in range(50)}
    assert len(orders) > 40


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected split to be one of train, dev, heldout, got 'test'"):
        personas("patient", "test")
    with pytest.raises(ValueError, match="Expected role to be one of"):
        personas("dentist")


GRAMMAR = Persona("mine", "patient", "Mei", "You are Mei. You sleep four hours a night.")
ENGLISH = Persona("ann", "patient", "Ann", "You are Ann. You sleep four hours a night.")


def test_the_grammar_reads_bundled_personas_and_those_made_of_its_sentences() -> None:
    assert all(are_readable(list(personas(role, split)[:50])) for role in BUNDLED for split in SPLITS)
    assert are_readable([GRAMMAR])
    assert not are_readable([GRAMMAR, ENGLISH])
    for text in ("You are Mei. You never sleep four hours a night.", "You live in Rome.", "You are mei.", "?"):
        assert not are_readable([replace(GRAMMAR, description=text)])
    check_readable([GRAMMAR], "the oracle")
    with pytest.raises(InputError, match=r"for the oracle, which reads no others, got ann \(You are Ann"):
        check_readable([GRAMMAR, ENGLISH], "the oracle")
