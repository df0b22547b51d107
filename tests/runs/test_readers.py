"""Who reads the embedded world's grammar only is refused for other personas, whatever file or name they come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.commands import run

GRAMMAR = "You are Mei. You sleep four hours a night.\nYou are Noah. You feel numb most of the time.\n"
ENGLISH = f"{GRAMMAR}You are Carla, and you keep bees.\n"
SMALL = ["--dialogues", "2", "--lines", "1"]


def file(folder: Path, text: str) -> Path:
    path = folder / "people.txt"
    path.write_text(text)
    return path


@pytest.mark.parametrize("command", [
    ["bench", "scripted", *SMALL], ["bench", "tiny?temperature=0.5", "--judge", "match", *SMALL],
    ["bench", "scripted", "--judge", "ensemble:match,oracle,match", *SMALL], ["train", "--dry-run"],
    ["play", "--simulator", "scripted", "--task-agent", "scripted", "--lines", "1"],
])  # fmt: skip
@pytest.mark.parametrize("personas", ["natural", "a file"])
def test_personas_in_english_are_refused_in_one_line(tmp_path: Path, command: list[str], personas: str) -> None:
    path = personas if personas == "natural" else file(tmp_path, ENGLISH)
    found = run([*command, "--personas", path])
    assert found.is_one_line, found.err
    assert "which reads no others" in found.err


def test_a_file_in_the_grammar_is_read_by_all(tmp_path: Path) -> None:
    found = run(["bench", "tiny", "scripted", *SMALL, "--personas", file(tmp_path, GRAMMAR)])
    assert found.code == 0, found.err
    assert "hedging, where unlisted" in found.out
