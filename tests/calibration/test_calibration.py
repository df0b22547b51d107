"""What vouches for a judge is a whole file of ours; whatever else stands at that place vouches for nobody."""

import json
import os
from pathlib import Path

import pytest

from persona_env.calibration.calibration import FORMAT, is_calibrated

JUDGE = {"judge": "a model"}
FOUND = {"format": FORMAT, "identity": JUDGE, "rows": [{"role": "patient", "kind": "prompt_to_line", "usable": True}]}
DEEP = 100_000


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def endless_nesting(path: Path) -> None:
    path.write_text("[" * DEEP)


def nested_identity(path: Path) -> None:
    text = json.dumps({**FOUND, "identity": 0}).replace('"identity": 0', f'"identity": {"[" * DEEP}{"]" * DEEP}')
    path.write_text(text)


def other_bytes(path: Path) -> None:
    path.write_bytes(json.dumps(FOUND).encode("utf-16"))


def test_a_whole_file_vouches_for_its_judge(tmp_path: Path):
    (tmp_path / "found.json").write_text(json.dumps(FOUND))
    assert is_calibrated(tmp_path / "found.json", JUDGE, "patient")


@pytest.mark.parametrize("make", [pipe, device, endless_nesting, nested_identity, other_bytes])
def test_what_is_no_such_file_vouches_for_nobody(tmp_path: Path, make):
    make(tmp_path / "found.json")
    assert not is_calibrated(tmp_path / "found.json", JUDGE, "patient")


@pytest.mark.parametrize("name", ["x" * 5000, "x/" * 5000, "nul\0", "\ud800"])
def test_a_name_that_no_file_can_have_vouches_for_nobody(tmp_path: Path, name: str):
    assert not is_calibrated(f"{tmp_path}/{name}", JUDGE, "patient")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", json.dumps({"format": FORMAT}), '{"format": 1}', "\x00"])
def test_a_file_that_cannot_be_read_vouches_for_nobody(tmp_path: Path, text: str):
    (tmp_path / "calibration.json").write_text(text)
    assert not is_calibrated(tmp_path, {}, "patient")
    assert not is_calibrated(tmp_path / "missing.json", {}, "patient")
