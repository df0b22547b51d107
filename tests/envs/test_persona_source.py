"""Whom an environment may simulate."""

import pytest

from persona_env.envs.persona_source import chosen_personas, resolve_personas
from persona_env.io import save_personas
from persona_env.persona import Persona
from tests.envs.parts import PERSONAS

STUDENT = Persona("s1", "student", "Sam", "You are Sam.")


def personas_of(role, count):
    return [Persona(f"{role}{i}", role, f"N{i}", f"You are number {i}.") for i in range(count)]


def test_bundled_personas_are_those_of_the_role_and_split_and_a_list_is_used_as_it_is():
    for split in ("train", "dev", "heldout"):
        found = resolve_personas("student", "bundled", split)
        assert all(persona.id.startswith(f"student/{split}/") for persona in found)
        assert list(resolve_personas("patient", PERSONAS, split)) == PERSONAS


def test_a_file_is_split_by_persona_and_of_several_roles_one_is_used(tmp_path):
    file = tmp_path / "personas.jsonl"
    save_personas(file, [*personas_of("patient", 60), *personas_of("student", 2)])
    splits = [resolve_personas("patient", file, split) for split in ("train", "dev", "heldout")]
    assert sorted(map(len, splits)) == [6, 6, 48]
    assert {p.id for found in splits for p in found} == {f"patient{i}" for i in range(60)}
    assert resolve_personas("patient", file, "dev") == resolve_personas("patient", str(file), "dev")


@pytest.mark.parametrize(
    ("role", "personas", "split", "message"),
    [
        ("pilot", "bundled", "train", "Expected role to be one of .*, or a path, got 'pilot'"),
        ("patient", "bundled", "test", "Expected a split train, dev, heldout or all, got 'test'"),
        ("patient", PERSONAS, "test", "Expected a split train, dev, heldout or all, got 'test'"),
        ("patient", "nowhere.jsonl", "train", "Expected personas to be 'bundled', 'natural' or a file, got 'nowhere"),
        ("patient", "a" * 300, "train", "Expected personas to be 'bundled', 'natural' or a file, got 'aaa"),
        ("patient", "/".join(["a" * 200] * 30), "train", "Expected personas to be 'bundled', 'natural' or a file, got"),
        ("patient", "a\x00b\n", "train", r"Expected personas to be 'bundled', 'natural' or a file, got 'a.x00b"),
        ("patient", [], "train", "Expected at least one persona, got none"),
        ("patient", [STUDENT], "train", "Expected a persona of role patient, got 's1' of role student"),
        ("patient", ["p1"], "train", "Expected a Persona or an id, got str"),
        ("patient", [Persona("p", "patient", "", "a" * 10**5)], "train", "Expected a prompt of at most 32768"),
    ],
)
def test_what_is_unknown_is_refused_in_one_line(role, personas, split, message):
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        resolve_personas(role, personas, split)
    assert "\n" not in str(caught.value)
    assert ": " in str(caught.value)


def test_a_file_without_the_role_is_refused(tmp_path):
    file = tmp_path / "personas.jsonl"
    save_personas(file, PERSONAS)
    with pytest.raises(ValueError, match="Expected a persona of role student of split train"):
        resolve_personas("student", file, "train")


def test_options_choose_a_persona_by_id_or_itself_and_leave_the_rest_to_chance():
    def chosen(options, rows=2):
        return chosen_personas("patient", PERSONAS, options or {}, rows)

    assert chosen(None) == chosen({}) == chosen({"persona": None}) == [None, None]
    assert chosen({"persona": "p1"}) == [PERSONAS[1], PERSONAS[1]]
    assert chosen({"persona": PERSONAS[2]}, rows=1) == [PERSONAS[2]]
    assert chosen({"personas": [None, "p2"]}) == [None, PERSONAS[2]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"persona": "p9"}, "Expected the id of a persona such as 'p0', got 'p9'"),
        ({"persona": STUDENT}, "Expected a persona of role patient, got 's1'"),
        ({"persona": 3}, "Expected a Persona or an id, got int"),
        ({"personas": ["p1"]}, "Expected 2 personas, got 1"),
    ],
)
def test_a_wrong_choice_is_refused_in_one_line(options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        chosen_personas("patient", PERSONAS, options, 2)
