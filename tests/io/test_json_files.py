"""What is wrong in a JSON file is one line that names the file, the place and the path in the value."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_env.errors import InputError
from persona_env.io import FileError, load_logs, load_personas
from persona_env.io.json_files import Record, converted, json_array, json_lines, read_json
from tests.io.invented import CHATTING, THERAPY, refused

RELEASED = json.dumps([THERAPY, CHATTING]).encode()


def file_with(folder: Path, content: bytes, name: str = "log.json") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@settings(deadline=None, max_examples=100)
@given(
    content=st.integers(1, len(RELEASED) - 1).map(lambda cut: RELEASED[:cut])
    | st.binary(max_size=60).filter(lambda garbage: b'"' not in garbage)  # a text in quotes is a persona
)
def test_a_log_cut_anywhere_and_garbage_are_errors_of_one_line(content: bytes, tmp_path_factory):
    path = file_with(tmp_path_factory.getbasetemp(), content, "cut.json")
    for load in (load_logs, load_personas):
        refused(load, path, "Expected")


ARRAYS = {
    b" \n\t\r\n": "line 1, got an empty file",
    b"\xef\xbb\xbf[]": "Expected dialogues in .*, got none",
    b"\xff\xfe[\x00]": "got UTF-16 that cannot be read",
    b"hello": "line 1, got 'h'",
    b'[{"conversation": NaN}]': r"malformed: invalid character \(byte 18\)",
    b'[{"task_name": 1e999}]': r"dialogue 0, \$\.task_name, got an error .Number out of range",
    b"[1, 2": "truncated",
    b"[{}]": "dialogue 0, .*missing required field `task_name`",
    b"[null]": "Expected `object` at .*dialogue 0, got `null`",
    b"[" * 100_000: "nested too deep",
    b"[]": "Expected dialogues in .*, got none",
}


@pytest.mark.parametrize("content", ARRAYS, ids=range(len(ARRAYS)))
def test_a_broken_array_is_named(tmp_path: Path, content: bytes):
    refused(load_logs, file_with(tmp_path, content), ARRAYS[content])


LINES = {
    b"\n\n  {": "line 3, got an error .*truncated",
    b"{} {}": r"line 1, got an error .*trailing characters \(byte 4\)",
    b'{"a": "\xff"}': "(?i)line 1, got an error .*utf-8",
    b'{"a": "\\ud83d"}': "line 1, got an error",
    b'{"a": ' * 100_000: "line 1, got one nested too deep",
}


@pytest.mark.parametrize("content", LINES, ids=range(len(LINES)))
def test_a_broken_line_is_named(tmp_path: Path, content: bytes):
    with pytest.raises(FileError, match=LINES[content]):
        list(json_lines(file_with(tmp_path, content), object))


def test_a_folder_and_a_missing_file_are_named(tmp_path: Path):
    with pytest.raises(FileError, match="got a folder: name a log or persona file"):
        load_logs(tmp_path)
    for name in ("no.json", "a\x00b", "x" * 300):
        with pytest.raises(FileError, match="got No such file"):
            load_logs(tmp_path / name)


def test_blank_lines_and_blanks_around_values_are_skipped(tmp_path: Path):
    path = file_with(tmp_path, b'\r\n  {"a": 1}  \r\n\n[2]')
    assert [*json_lines(path, object)] == [(f"{path} line 2", {"a": 1}), (f"{path} line 4", [2])]
    path = file_with(tmp_path, b" [ 1 ,\r\n 2 ] \n")
    assert [*json_array(path, int, "item")] == [(f"{path}, item 0", 1), (f"{path}, item 1", 2)]


class Part(Record, frozen=True):
    name: str
    size: int = 0

    def __post_init__(self) -> None:
        if self.size < 0:
            raise InputError(f"Expected size >= 0, got {self.size}: give a larger one.")


class Whole(Record, frozen=True):
    parts: tuple[Part, ...]


WRONG = {
    '{"parts": [{"name": "a"}, {"name": 3}]}': "Expected `str` at FILE, $.parts[1].name, got `int`: correct the file.",
    '{"parts": [{"size": 3}]}': (
        "Expected a valid value at FILE, $.parts[0], got an error (Object missing required field `name`): "
        "correct the file."
    ),
    '{"parts": [{"name": "a", "size": -1}]}': ("Expected size >= 0, got -1: give a larger one. (at FILE, $.parts[0])"),
    '{"parts": [], "mood": 1}': (
        "Expected a valid value at FILE, got an error (Object contains unknown field `mood`): correct the file."
    ),
}


@pytest.mark.parametrize("text", WRONG)
def test_a_value_of_another_kind_is_named_with_its_path(tmp_path: Path, text: str):
    path = file_with(tmp_path, text.encode())
    with pytest.raises(FileError) as read:
        read_json(path, Whole)
    with pytest.raises(FileError) as made:
        converted(json.loads(text), Whole, str(path))
    assert str(read.value) == WRONG[text].replace("FILE", str(path)) == str(made.value)
