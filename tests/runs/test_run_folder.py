"""A run folder is written whole or not at all."""

import json
import os
import resource
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from persona_env.runs.run_folder import RunFolder
from tests.runs.runs import contents, ended, fork


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


def test_a_folder_without_a_run_cannot_be_resumed_and_one_with_a_run_is_not_overwritten(tmp_path):
    with pytest.raises(ValueError, match=r"Expected a run folder with a config\.json"):
        RunFolder(tmp_path, resume=True)
    RunFolder(tmp_path).create().write_json("config.json", {})
    with pytest.raises(ValueError, match=r"files in it: give another --out or go on with --resume"):
        RunFolder(tmp_path)
    assert RunFolder(tmp_path, resume=True).read_json("config.json") == {}


def test_two_processes_cannot_run_in_one_folder(tmp_path):
    holder, second = RunFolder(tmp_path).create(), RunFolder(tmp_path)
    with pytest.raises(ValueError, match="got another one that runs in it"):
        second.create()

    def refused() -> int:
        try:
            RunFolder(tmp_path).create()
        except ValueError as error:
            return 0 if "another one" in str(error) else 2
        return 3

    assert ended(fork(refused)) == 0
    holder.close()
    assert ended(fork(refused)) == 3


def test_a_killed_process_leaves_no_lock_behind(tmp_path):
    def held() -> None:
        RunFolder(tmp_path).create()
        os.kill(os.getpid(), signal.SIGKILL)

    assert ended(fork(held)) == -signal.SIGKILL
    RunFolder(tmp_path).create()


def full_disk() -> None:
    """No file may grow any more: every write from here on fails as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def fill(text: str):
    def write(path: Path) -> None:
        (path / "weights").write_text(text)

    return write


WRITES = {
    "a line": lambda folder: folder.append_line("metrics.jsonl", {"tokens": 2}),
    "a file": lambda folder: folder.write_json("summary.json", {"value": 2}),
    "a folder": lambda folder: folder.write_folder("model", fill("new")),
    "weights": lambda folder: folder.write_folder("model", save_weights),
}


def save_weights(path):
    save_file({"weight": torch.ones(100)}, path / "weights")


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_on_a_full_disk_what_stood_there_stays(tmp_path, write):
    folder = RunFolder(tmp_path).create()
    folder.append_line("metrics.jsonl", {"tokens": 1})
    folder.write_json("summary.json", {"value": 1})
    folder.write_folder("model", fill("old"))
    before = contents(tmp_path)

    def fails() -> int:
        full_disk()
        try:
            write(folder)
        except OSError as error:
            return 0 if str(error).startswith("Expected room for ") and "\n" not in str(error) else 2
        return 3

    assert ended(fork(fails)) == 0
    assert contents(tmp_path) == before
    write(folder)
    assert contents(tmp_path) != before


def test_what_a_kill_has_left_half_written_is_cut_away(tmp_path):
    folder = RunFolder(tmp_path).create()
    folder.append_line("metrics.jsonl", {"tokens": 1})
    size = folder.size("metrics.jsonl")
    folder.append_line("metrics.jsonl", {"tokens": 2})
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"tok')
    assert folder.read_lines("metrics.jsonl") == [{"tokens": 1}, {"tokens": 2}]
    folder.cut("metrics.jsonl")
    assert (tmp_path / "metrics.jsonl").read_text().count("\n") == 2
    folder.cut("metrics.jsonl", size)
    assert folder.read_lines("metrics.jsonl") == [{"tokens": 1}]
    folder.cut("metrics.jsonl", 0)
    folder.close()
    (tmp_path / ".model.tmp").mkdir()
    (tmp_path / ".config.json.tmp").write_text("{")
    RunFolder(tmp_path).create()  # drafts are no run: a new one may begin here
    assert not list(tmp_path.iterdir())
