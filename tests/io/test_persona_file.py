import json
from pathlib import Path

import pytest

from persona_env.io import FileError, load_personas, save_personas
from persona_env.io.persona_file import SPLITS
from persona_env.persona import Persona
from tests.io.invented import ANN, DATA, THERAPY, needs_data, refused, written


def numbered(count: int) -> list[Persona]:
    return [Persona(f"p{i}", "patient", "", f"You are number {i}.") for i in range(count)]


def test_a_persona_survives_a_file_of_ours(tmp_path: Path):
    path = tmp_path / "personas.jsonl"
    everybody = [ANN, *numbered(2)]
    assert save_personas(path, everybody) == 3
    assert load_personas(path) == everybody
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert load_personas(written(tmp_path, *rows)) == everybody  # an array of them is read too


def test_a_named_split_is_kept(tmp_path: Path):
    path = tmp_path / "personas.jsonl"
    save_personas(path, numbered(3), ["train", "heldout", "train"])
    assert [p.id for p in load_personas(path, "train")] == ["p0", "p2"]
    assert [p.id for p in load_personas(path, "heldout")] == ["p1"]
    assert len(load_personas(path)) == 3
    with pytest.raises(FileError, match=r"Expected personas of the split 'dev' in .*, got none"):
        load_personas(path, "dev")


def test_without_named_splits_no_persona_is_in_two_of_them(tmp_path: Path):
    path = tmp_path / "personas.jsonl"
    twins = [Persona(f"twin{i}", "patient", "", "You are number 9.") for i in range(7)]
    save_personas(path, numbered(20) + twins)
    splits = {split: {p.description for p in load_personas(path, split)} for split in ("train", "dev", "heldout")}
    assert [len(texts) for texts in splits.values()] == [16, 2, 2]
    assert len(set.union(*splits.values())) == 20


@pytest.mark.parametrize(
    ("row", "role", "prompt"),
    [
        ({"persona": '"You are Bo.\\nYou \\"bake\\"."', "name": "Bo"}, "chat_partner", 'You are Bo.\nYou "bake".'),
        ({"persona": "I bake.", "role": "Patient", "mood": 1}, "patient", "I bake."),
        ({"description": " I bake. ", "strategy": "I joke."}, "patient", "I bake.\n\nI joke."),
        (
            ["bread", {"grade_level": "college", "description": "I ask why."}],
            "student",
            "I ask why.\nThe lesson is about bread. The student is in college.",
        ),
    ],
)
def test_the_released_shapes_are_told_apart(tmp_path: Path, row: object, role: str, prompt: str):
    (persona,) = load_personas(written(tmp_path, row, name="bakers.json"))
    assert (persona.id, persona.role, persona.prompt) == ("bakers/0000", role, prompt)


FORMS: dict[str, tuple[str, str]] = {
    "lines": ("p.txt", "I bake.\n- I fish.\n\n3. I sing."),
    "paragraphs": ("p.txt", "I\nbake.\n\nI fish.\n\n\nI sing.\n"),
    "PersonaChat": (
        "p.txt",
        "1 your persona: I\n2 your persona: bake.\n3 hi\thello\n1 your persona: I fish.\n"
        "1 your persona: I sing.\n2 partner's persona: I\n3 partner's persona: bake.\n",
    ),
    "JSON texts": ("p.json", '["I bake.", ["I", "fish."], "I sing."]'),
    "JSONL texts": ("p.jsonl", '"I bake."\n"I fish."\n"I sing."'),
    "PersonaHub": (
        "p.jsonl",
        '{"persona": "I bake.", "n": 1, "id": 7}\n{"input persona": "I fish."}\n{"personality": ["I", "sing."]}',
    ),
    "descriptions": ("p.json", '[{"description": "I bake."}, {"description": "I fish."}, {"description": "I sing."}]'),
    "semicolons": ("p.csv", 'Persona;age;role\n"I bake.";3;patient\n\nI fish.;4;Patient\nI sing.;5;\n\n'),
    "an index": ("p.csv", ",Description,Role\n0,I bake.,patient\n1,I fish.,Patient\n2,I sing.,PATIENT"),
    "tabs": ("p.tsv", "name\tpersonality\nAnn\tI bake.\nBo\tI fish.\nCy\tI sing."),
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("form", FORMS)
def test_files_of_other_forms_are_read(form: str, encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    name, text = FORMS[form]
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / name).write_text(text, encoding=encoding)
    personas = load_personas(f"~/{name}", role="patient")
    assert [" ".join(p.description.split()) for p in personas] == ["I bake.", "I fish.", "I sing."]
    assert {p.role for p in personas} == {"patient"}
    assert [load_personas(f"~/{name}", split, "patient") for split in SPLITS] == [[persona] for persona in personas]


GOOD = {"id": "q", "role": "patient", "name": "", "description": "You are Q."}
WRONG = {
    "an unknown field": ({**GOOD, "age": 3}, r"no field of that name at .*persona 1, got \$\.age"),
    "a misspelt field": (
        {**GOOD, "questions": [{"gold": "four", "wordings": ["Who?"], "choises": []}]},
        r"persona 1, got \$\.questions\[0\]\.choises",
    ),
    "an unknown role": ({**GOOD, "role": "pilot"}, "Expected a role out of patient, .*persona 1, got 'pilot'"),
    "a broken gold answer": (
        {**GOOD, "questions": [{"gold": "s", "wordings": ["Who?"]}]},
        r"a gold answer of at least two letters, got 's'.*persona 1, \$\.questions\[0\]",
    ),
    "the same id": ({**GOOD, "id": "p"}, "distinct persona ids in .*, got 'p' twice"),
    "a split for some": ({**GOOD, "split": "dev"}, "a split for every persona in .* or for none, got 1"),
    "an unknown split": ({**GOOD, "split": "test"}, r"one of train, dev, heldout at .*\$\.split, got 'test'"),
    "a dialogue": (THERAPY, "this is a log, read it with load_logs"),
    "a list of one": ([3], "of length 2 at .*persona 1|length 2, got 1"),
    "no text": ({"age": 3}, "Expected a field among persona, .*, description at .*persona 1, got 'age'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named_with_its_persona_and_field(tmp_path: Path, name: str):
    row, message = WRONG[name]
    refused(load_personas, written(tmp_path, {**GOOD, "id": "p"}, row), message)


def test_wrong_splits_are_refused(tmp_path: Path):
    path = tmp_path / "personas.jsonl"
    with pytest.raises(FileError, match="Expected 2 splits"):
        save_personas(path, numbered(2), ["train"])
    save_personas(path, [*numbered(1), Persona("q", "patient", "", "you  are Number 0.")], ["train", "heldout"])
    refused(load_personas, path, "in one split only in .*, got that of 'q' in train and heldout")
    refused(load_personas, written(tmp_path), r"Expected personas in .*, got none")
    with pytest.raises(FileError, match=r"Expected rows to write to .*, got none"):
        save_personas(path, [])
    with pytest.raises(FileError, match="Expected a split train, dev, heldout or None, got 'test'"):
        load_personas(path, "test")


BEES = Persona("ann", "patient", "Ann", "You are Ann. You keep bees, and you sleep four hours a night.")


@pytest.mark.parametrize(("name", "description"), [
    ("Ann", "you are ann.  You keep bees and you sleep four hours a night"),
    ("Bo", "You are Bo. You keep bees, and you sleep four hours a night."),
    ("", "You are Bo. You keep bees, and you sleep four hours a night."),
    ("Ann", "You are Ann. You keep be\u200bes, and you sleep four hours a night."),
    ("Ann", "You are Ann.\nYou keep bees \u2013 and you sleep four hours a night!"),
])  # fmt: skip
def test_a_training_persona_is_not_held_out_in_other_letters_or_under_another_name(
    tmp_path: Path, name: str, description: str
):
    path, again = tmp_path / "personas.jsonl", Persona("again", "patient", name, description)
    save_personas(path, [BEES, again, *numbered(1)], ["train", "heldout", "dev"])
    refused(load_personas, path, "in one split only in .*, got that of 'again' in train and heldout")
    save_personas(path, [BEES, *numbered(8), again])  # the tenth would be held out
    assert {p.id for p in load_personas(path, "train")} >= {"ann", "again"}


def test_personas_that_differ_in_what_they_say_are_two(tmp_path: Path):
    path = tmp_path / "personas.jsonl"
    others = ["You are Ann. You keep bees, and you sleep two hours a night.", "You are Ann.", "You are Bo."]
    others = [Persona(f"p{i}", "patient", "", text) for i, text in enumerate(others)]
    save_personas(path, [BEES, *others], ["train", "heldout", "train", "heldout"])
    assert len(load_personas(path, "heldout")) == 2


@needs_data
@pytest.mark.parametrize(
    ("role", "file", "count"),
    [("chat_partner", "chatting", 200), ("student", "education", 100), ("patient", "therapy", 100)],
)
def test_the_real_persona_files_load(tmp_path: Path, role: str, file: str, count: int):
    path = DATA / "personas" / f"config_{file}_personas.json"
    found = load_personas(path)
    assert (len(found), {p.role for p in found}) == (count, {role})
    save_personas(tmp_path / "copy.jsonl", found)
    assert load_personas(tmp_path / "copy.jsonl") == found
