"""A file is written whole or not at all."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_env.errors import CannotWrite
from persona_env.io import FileError
from persona_env.io.atomic import check_target, json_line, write_json, write_jsonl, write_text
from tests.io.invented import ANN


def test_the_file_is_replaced_whole(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    assert write_jsonl(path, range(5)) == 5
    with open(path, encoding="utf-8") as reader:
        assert write_jsonl(path, range(1)) == 1
        assert len(reader.readlines()) == 5, "a reader of the old file goes on reading it"
    assert path.read_text() == "0\n"
    assert [file.name for file in tmp_path.iterdir()] == ["log.jsonl"]


def test_rows_that_fail_to_be_made_leave_the_old_file(tmp_path: Path):
    def failing() -> Iterator[int]:
        yield 1
        raise RuntimeError("no more")

    path = write_text(tmp_path / "log.jsonl", "old")
    with pytest.raises(RuntimeError, match="no more"):
        write_jsonl(path, failing())
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["log.jsonl"]


@pytest.mark.parametrize("name", ["no/such/x", "text.txt/below", "x" * 300, "a\x00b", "folder"])
def test_a_file_that_cannot_be_written_is_named_in_one_line(tmp_path: Path, name: str):
    (tmp_path / "folder").mkdir()
    write_text(tmp_path / "text.txt", "mine")
    with pytest.raises(CannotWrite, match=r"^Expected a file that can be written at ") as caught:
        write_json(tmp_path / name, {})
    assert str(caught.value).isprintable()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["folder", "text.txt"]


def test_a_target_is_checked_before_the_work_that_fills_it(tmp_path: Path):
    path = write_text(tmp_path / "text.txt", "mine")
    assert check_target(path) == path
    for wrong in (tmp_path / "no/such/x", path / "below", tmp_path, Path()):
        with pytest.raises(FileError, match=r"^Expected a file that can be written at "):
            check_target(wrong)


@settings(deadline=None, max_examples=50)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_survives_as_one_line(text: str):
    line = json_line([text])
    assert json.loads(line) == [text]
    assert "\n" not in line


def test_what_json_or_utf_8_cannot_hold_is_refused():
    with pytest.raises(FileError, match="half of a surrogate pair"):
        json_line(["\ud83d"])
    with pytest.raises(FileError, match="values that JSON can hold"):
        json_line([float("inf")])


def test_a_record_is_written_without_what_has_its_default():
    fields = json.loads(json_line(ANN))
    assert fields["facts"] == [{"key": "sleep", "value": "four", "text": "You sleep four hours."}]
    assert json.loads(json_line(type(ANN)("p", "patient", "", "You."))) == {
        "id": "p", "role": "patient", "name": "", "description": "You."
    }  # fmt: skip
