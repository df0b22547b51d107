"""A run folder is written whole or not at all."""

import json

import pytest

from persona_env.learning.run_folder import RunFolder


def test_a_folder_with_files_in_it_is_refused_and_left_alone(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(ValueError, match="Expected an empty folder"):
        RunFolder(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["precious.txt"]


def test_a_file_in_its_place_and_an_unwritable_place_are_refused(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ValueError, match="Expected a folder for the run"):
        RunFolder(file)
    with pytest.raises(ValueError, match="Expected a folder that can be written"):
        RunFolder(file / "below").create()


def test_a_value_that_json_cannot_hold_leaves_the_old_file_as_it_was(tmp_path):
    folder = RunFolder(tmp_path).create()
    folder.write_json("summary.json", {"value": 1})
    with pytest.raises(ValueError, match="JSON"):
        folder.write_json("summary.json", {"value": float("nan")})
    assert json.loads((tmp_path / "summary.json").read_text()) == {"value": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["summary.json"]


def test_a_folder_that_fails_to_fill_leaves_the_old_one(tmp_path):
    folder = RunFolder(tmp_path).create()

    def works(path):
        (path / "weights").write_text("good")

    def fails(path):
        (path / "weights").write_text("half")
        raise OSError("disk full")

    folder.write_folder("model", works)
    with pytest.raises(OSError, match="disk full"):
        folder.write_folder("model", fails)
    assert (tmp_path / "model" / "weights").read_text() == "good"


def test_any_unicode_string_survives_a_line(tmp_path):
    folder = RunFolder(tmp_path).create()
    text = "a\u2028b\x00c😀\n"
    folder.append_line("metrics.jsonl", {"text": text})
    folder.append_line("metrics.jsonl", {"text": "second"})
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["text"] for line in lines] == [text, "second"]
