"""A run folder is written whole or not at all."""

import contextlib
import json
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from persona_env.errors import CannotWrite, InputError
from persona_env.runs.run_folder import RunFolder
from tests.runs.runs import contents


def test_a_folder_with_files_in_it_is_refused_and_left_alone(tmp_path: Path):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(InputError, match="Expected an empty folder"):
        RunFolder(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["precious.txt"]


def test_a_file_in_its_place_and_an_unwritable_place_are_refused(tmp_path: Path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(InputError, match="Expected a folder for the run"):
        RunFolder(file)
    for unwritable in (file / "below", tmp_path / ("x" * 300)):
        with pytest.raises(InputError, match="Expected a folder that can be written"):
            RunFolder(unwritable).create()


def test_a_folder_without_a_run_cannot_be_resumed_and_one_with_a_run_is_not_overwritten(tmp_path: Path):
    with pytest.raises(InputError, match=r"Expected a run folder with a config\.json"):
        RunFolder(tmp_path, resume=True)
    RunFolder(tmp_path).create().write_json("config.json", {})
    with pytest.raises(InputError, match=r"files in it: give another --out or continue it with --resume"):
        RunFolder(tmp_path)
    assert RunFolder(tmp_path, resume=True).read_json("config.json") == {}


def test_a_value_that_json_cannot_hold_leaves_the_old_file_as_it_was(tmp_path: Path):
    folder = RunFolder(tmp_path).create()
    folder.write_json("summary.json", {"value": 1})
    with pytest.raises(ValueError, match="JSON"):
        folder.write_json("summary.json", {"value": float("nan")})
    assert json.loads((tmp_path / "summary.json").read_text()) == {"value": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["summary.json"]


def test_any_unicode_string_survives_a_line(tmp_path: Path):
    folder = RunFolder(tmp_path).create()
    rows = [{"text": "a\u2028b\x00c😀\n"}, {"text": "second"}]
    for row in rows:
        folder.append_line("metrics.jsonl", row)
    assert folder.read_lines("metrics.jsonl") == rows


def test_two_runs_cannot_use_one_folder(tmp_path: Path):
    holder, second = RunFolder(tmp_path).create(), RunFolder(tmp_path)
    with pytest.raises(InputError, match="got another one that runs in it"):
        second.create()
    holder.close()
    second.create()
    with pytest.raises(InputError, match="got another one that runs in it"):
        holder.create()


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow: every write inside fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def fill(text: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        (path / "weights").write_text(text)

    return write


def save_weights(path: Path) -> None:
    save_file({"weight": torch.ones(100)}, path / "weights")


WRITES: dict[str, Callable[[RunFolder], object]] = {
    "a line": lambda folder: folder.append_line("metrics.jsonl", {"tokens": 2}),
    "a first line": lambda folder: folder.append_line("timing.jsonl", {"tokens": 2}),
    "a file": lambda folder: folder.write_json("summary.json", {"value": 2}),
    "a folder": lambda folder: folder.write_folder("model", fill("new")),
    "weights": lambda folder: folder.write_folder("model", save_weights),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_on_a_full_disk_what_stood_there_stays(tmp_path: Path, write: Callable[[RunFolder], object]):
    folder = RunFolder(tmp_path, way_on="train --resume x").create()
    folder.append_line("metrics.jsonl", {"tokens": 1})
    folder.write_json("summary.json", {"value": 1})
    folder.write_folder("model", fill("old"))
    before = contents(tmp_path)
    with full_disk(), pytest.raises(CannotWrite, match="make room, then continue with train --resume x") as told:
        write(folder)
    assert str(told.value).isprintable()
    assert contents(tmp_path) == before
    write(folder)
    assert {*tmp_path.iterdir()} >= {tmp_path / name for name in ("metrics.jsonl", "summary.json", "model")}


def test_what_a_kill_has_left_half_written_is_cut_away(tmp_path: Path):
    folder = RunFolder(tmp_path).create()
    folder.append_line("metrics.jsonl", {"tokens": 1})
    size = folder.size("metrics.jsonl")
    folder.append_line("metrics.jsonl", {"tokens": 2})
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"tok')
    assert folder.read_lines("metrics.jsonl") == [{"tokens": 1}, {"tokens": 2}]
    assert (tmp_path / "metrics.jsonl").read_text().count("\n") == 2
    folder.cut("metrics.jsonl", size)
    assert folder.read_lines("metrics.jsonl") == [{"tokens": 1}]
    folder.cut("metrics.jsonl", 0)
    folder.close()
    (tmp_path / ".model.tmp").mkdir()
    (tmp_path / ".config.json.7.tmp").write_text("{")
    RunFolder(tmp_path).create()  # drafts are no run: a new one may begin here
    assert not list(tmp_path.iterdir())
