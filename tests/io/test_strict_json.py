import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_env.conversation import Conversation
from persona_env.io import LogError, load_logs, load_personas, save_logs
from persona_env.io.nodes import Node
from persona_env.io.strict_json import array_nodes, json_text, line_nodes
from persona_env.persona import Persona
from tests.io.invented import CHATTING, THERAPY

RELEASED = json.dumps([THERAPY, CHATTING], indent=1).encode()


@settings(deadline=None, max_examples=50)
@given(cut=st.integers(1, len(RELEASED) - 1))
def test_a_log_cut_anywhere_is_an_error_of_one_line(cut: int, tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.getbasetemp() / "cut.json"
    path.write_bytes(RELEASED[:cut])
    with pytest.raises(LogError) as caught:
        load_logs(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(deadline=None, max_examples=50)
@given(garbage=st.binary(max_size=60))
def test_garbage_is_an_error_of_one_line(garbage: bytes, tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.getbasetemp() / "garbage.json"
    path.write_bytes(garbage)
    for load in (load_logs, load_personas):
        with pytest.raises(LogError) as caught:
            load(path)
        assert "\n" not in str(caught.value)


ARRAYS = {
    b"": "line 1, got an empty file",
    b" \n\t\r\n": "line 1, got an empty file",
    b"\xef\xbb\xbf[]": "got a byte order mark",
    b"\xff\xfe[\x00]\x00": "got a byte order mark",
    b"hello": "line 1, got 'h'",
    b'[{"a": 1, "b": 2, "a": 3}]': "dialogue 0, got the key 'a' twice in one object",
    b'[{"conversation": NaN}]': "dialogue 0, got the number NaN",
    b"[-Infinity]": "got the number -Infinity",
    b"[1e999]": "a number too large for a float",
    b"[" + b"9" * 5000 + b"]": "a whole number of more than 18 digits",
    b"[1, 2": "dialogue 0, got 1",
    b"[{}, {}": "Expected",
    b"[": "line 1 column 2, got a text that is cut off",
    b'[{"conversation"': "column 17, got a text that is cut off",
    b'[{"task_name": "Ther': "got a text that is cut off",
    b"[\n {]": "line 2 column 3",
    b"[] []": "Expected nothing more at .* line 1 column 4",
    b"[" * 100_000: "nested too deep",
    b'["\xff"]': "Expected UTF-8 at .*, got the byte 0xff at 2",
    b"[]": "Expected dialogues in .*, got none",
}


@pytest.mark.parametrize("content", ARRAYS, ids=range(len(ARRAYS)))
def test_a_broken_array_is_named(tmp_path: Path, content: bytes):
    path = tmp_path / "log.json"
    path.write_bytes(content)
    with pytest.raises(LogError, match=ARRAYS[content]) as caught:
        load_logs(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(path))


LINES = {
    b'{"format": 1, "format": 1}': "line 1, got the key 'format' twice",
    b'{"a": NaN}': "line 1, got the number NaN",
    b"\n\n  {": "line 3 column 4, got a text that is cut off",
    b"{} {}": "line 1, got more at column 4",
    b'{"a": "\xff"}': "Expected UTF-8 at .*line 1, got the byte 0xff",
    b'{"a": "tab\there"}': "line 1 column 11",
}


@pytest.mark.parametrize("content", LINES, ids=range(len(LINES)))
def test_a_broken_line_is_named(tmp_path: Path, content: bytes):
    path = tmp_path / "log.jsonl"
    path.write_bytes(content)
    with pytest.raises(LogError, match=LINES[content]):
        list(line_nodes(path))


def test_a_line_that_is_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("persona_env.io.strict_json.MAX_LINE", 8)
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"[1]\n[1234567]\n")
    with pytest.raises(LogError, match=r"at most 8 bytes at .* line 2"):
        list(line_nodes(path))


def test_a_folder_and_a_missing_file_are_named(tmp_path: Path):
    with pytest.raises(LogError, match="got a folder: name a log or persona file"):
        load_logs(tmp_path)
    with pytest.raises(LogError, match="No such file"):
        load_logs(tmp_path / "no.json")


def test_blank_lines_and_blanks_around_values_are_passed_over(tmp_path: Path):
    path = tmp_path / "x"
    path.write_bytes(b'\r\n  {"a": 1}  \r\n\n[2]')
    assert [node.value for node in line_nodes(path)] == [{"a": 1}, [2]]
    path.write_bytes(b" [ 1 ,\r\n 2 ] \n")
    assert [(node.value, node.place) for node in array_nodes(path, "item")] == [
        (1, f"{path}, item 0"),
        (2, f"{path}, item 1"),
    ]


def test_the_file_is_replaced_whole(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    talk = Conversation(Persona("p", "patient", "Ann", "You are Ann."))
    save_logs(path, [talk] * 5)
    with open(path, encoding="utf-8") as reader:
        save_logs(path, [talk])
        assert len(reader.readlines()) == 5, "who reads the old file goes on reading it"
    assert len(load_logs(path)) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["log.jsonl"]


@settings(deadline=None, max_examples=50)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_survives_as_one_line(text: str):
    line = json_text([text])
    assert json.loads(line) == [text]
    assert len(line.splitlines()) == 1


def test_a_place_is_told_from_the_file_down():
    node = Node({"people": [{"name": 3}]}, "x.json")
    with pytest.raises(LogError, match=r"^Expected a text at x.json, people\[0\], name, got 3: correct the file.$"):
        node.field("people").items()[0].field("name").text()
