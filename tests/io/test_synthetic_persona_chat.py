"""Synthetic-Persona-Chat: two personas a row, and what they said."""

import csv
import io
from pathlib import Path

import pytest

from persona_env.io import FileError, load_logs, load_personas, save_logs
from persona_env.io.synthetic_persona_chat import COLUMNS, load_dialogues
from tests.io.invented import refused

REAL = Path(__file__).parents[3] / "shared" / "data" / "synthetic_persona_chat" / "test.csv"
needs_chats = pytest.mark.skipif(not REAL.is_file(), reason=f"the real set is not here: {REAL}")

ANN, BO = "I bake.\nI love tea.", "I fish, mostly.\nI own a boat."
TALK = 'User 1: Hi: I bake.\nUser 2: I said "fish".\nAnd eels.\n\nUser 1: Tea?'


def filed(folder: Path, *rows: tuple[str, ...], header: tuple[str, ...] = COLUMNS, name: str = "few.csv") -> Path:
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    path = folder / name
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    return path


def test_each_row_has_two_personas_with_ids_that_stay(tmp_path: Path):
    personas = load_personas(filed(tmp_path, (ANN, BO, TALK), (BO, ANN, TALK)))
    assert [p.id for p in personas] == ["few/0000/1", "few/0000/2", "few/0001/1", "few/0001/2"]
    assert [p.description for p in personas] == [ANN, BO, BO, ANN]
    assert {(p.role, p.questions, p.facts) for p in personas} == {("chat_partner", (), ())}


def test_a_conversation_keeps_its_colons_quotes_and_lines(tmp_path: Path):
    (dialogue,) = load_dialogues(filed(tmp_path, (ANN, BO, TALK)))
    assert [(m.speaker, m.text) for m in dialogue.messages] == [
        ("P1", "Hi: I bake."),
        ("P2", 'I said "fish".\nAnd eels.'),
        ("P1", "Tea?"),
    ]
    assert dialogue.conversation("P2").persona.description == BO
    assert save_logs(tmp_path / "log.jsonl", [dialogue]) == 1
    assert load_logs(tmp_path / "log.jsonl") == [dialogue]


def test_stars_around_names_and_breaks_of_stars_are_no_words(tmp_path: Path):
    (dialogue,) = load_dialogues(filed(tmp_path, (ANN, BO, "* * *\n* * User 2: * * Hello\n***\nUser 1: Hi")))
    assert [(m.speaker, m.text) for m in dialogue.messages] == [("P2", "Hello"), ("P1", "Hi")]


@pytest.mark.parametrize("talk", ["", "* * *", "Hello there.\nUser 1: Hi"])
def test_a_conversation_that_cannot_be_read_is_raised_or_handed_over_and_never_lost(tmp_path: Path, talk: str):
    path = filed(tmp_path, (ANN, BO, TALK), (ANN, BO, talk))
    refused(load_dialogues, path, r"few\.csv row 1, got")
    unread: list[FileError] = []
    assert [dialogue.number for dialogue in load_dialogues(path, unread)] == [0]
    assert len(unread) == 1
    refused(load_dialogues, filed(tmp_path, (ANN, BO, talk)), "Expected")


WRONG = {
    "other columns": (
        lambda d: filed(d, (ANN, BO, TALK), header=("a", "b", "c")),
        "Expected a field among .*row 0, got 'a, b, c'",
    ),
    "no rows": (filed, "Expected personas in .*few.csv, got none"),
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
    personas = load_personas(REAL)
    assert (len(personas), len({p.id for p in personas})) == (1936, 1936)
    unread: list[FileError] = []
    dialogues = load_dialogues(REAL, unread)
    assert (len(dialogues), len(unread)) == (966, 2)
    texts = [message.text for dialogue in dialogues for message in dialogue.messages]
    assert not [text for text in texts if text.startswith(("User 1", "User 2", "* *"))]
