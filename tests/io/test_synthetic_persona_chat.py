"""Synthetic-Persona-Chat: two personas a row, and what they said."""

import csv
import io
from pathlib import Path

import pytest

from persona_env.io import load_personas
from persona_env.io.synthetic_persona_chat import COLUMNS
from tests.io.invented import refused

REAL = Path(__file__).parents[3] / "shared" / "data" / "synthetic_persona_chat" / "test.csv"
needs_chats = pytest.mark.skipif(not REAL.is_file(), reason=f"the real set is not here: {REAL}")

ANN, BO = "I bake.\nI love tea.", "I fish, mostly.\nI own a boat."
TALK = 'User 1: Hi: I bake.\nUser 2: I said "fish".'


def filed(folder: Path, *rows: tuple[str, ...], header: tuple[str, ...] = COLUMNS, name: str = "few.csv") -> Path:
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    path = folder / name
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    return path


def test_each_row_has_two_personas_with_ids_that_stay(tmp_path: Path):
    people = load_personas(filed(tmp_path, (ANN, BO, TALK), (BO, ANN, TALK)))
    assert [p.id for p in people] == ["few/0000/1", "few/0000/2", "few/0001/1", "few/0001/2"]
    assert [p.description for p in people] == [ANN, BO, BO, ANN]
    assert {(p.role, p.questions, p.facts) for p in people} == {("chat_partner", (), ())}


WRONG = {
    "other columns": (lambda d: filed(d, header=("a", "b", "c")), r"Expected the columns user 1 personas, .* line 1"),
    "no rows": (filed, "Expected conversations in .*few.csv, got none"),
    "a field too few": (lambda d: filed(d, (ANN, BO)), "Expected 3 fields at .*few.csv row 0, got 2"),
    "a persona without words": (
        lambda d: filed(d, (ANN, " ", TALK)),
        "characters at .*row 0, user 2 personas, got 1",
    ),
    "a field beyond all bounds": (lambda d: filed(d, (ANN, "a" * 200_000, TALK)), "Expected CSV at .*few.csv line"),
    "an open quote": (lambda d: raw(d, b'user 1 personas,"user 2'), "Expected CSV at .*few.csv line 1, got"),
    "a line without end": (lambda d: raw(d, b"user" * 200_000), "Expected CSV at .*few.csv line 1, got"),
}


def raw(folder: Path, content: bytes) -> Path:
    path = folder / "few.csv"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named_with_its_file_and_row(tmp_path: Path, name: str):
    make, message = WRONG[name]
    refused(load_personas, make(tmp_path), message)


@needs_chats
def test_the_real_set_loads():
    people = load_personas(REAL)
    assert (len(people), len({p.id for p in people})) == (1936, 1936)
