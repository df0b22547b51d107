"""What vouches for a judge is a whole file of ours; whatever else stands at that place vouches for nobody."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from persona_env.calibration.calibration import FORMAT, is_calibrated

JUDGE = {"judge": "a model"}
FOUND = {"format": FORMAT, "identity": JUDGE, "rows": [{"role": "patient", "kind": "prompt_to_line", "usable": True}]}
DEEP = 100_000


NESTED = json.dumps({**FOUND, "identity": 0}).replace('"identity": 0', f'"identity": {"[" * DEEP}{"]" * DEEP}')


def test_a_whole_file_vouches_for_its_judge(tmp_path: Path):
    (tmp_path / "found.json").write_text(json.dumps(FOUND))
    assert is_calibrated(tmp_path / "found.json", JUDGE, "patient")


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "device"])
def test_what_is_no_file_vouches_for_nobody(tmp_path: Path, make: Callable[[Path], None]):
    make(tmp_path / "found.json")
    assert not is_calibrated(tmp_path / "found.json", JUDGE, "patient")


@pytest.mark.parametrize("name", ["x" * 5000, "x/" * 5000, "nul\0", "\ud800"])
def test_a_name_that_no_file_can_have_vouches_for_nobody(tmp_path: Path, name: str):
    assert not is_calibrated(f"{tmp_path}/{name}", JUDGE, "patient")


TEXTS = ["", "{", "[]", "3", json.dumps({"format": FORMAT}), '{"format": 1}', "\x00", "[" * DEEP, NESTED]


@pytest.mark.parametrize("data", [*(text.encode() for text in TEXTS), json.dumps(FOUND).encode("utf-16-be")])
def test_a_file_that_cannot_be_read_vouches_for_nobody(tmp_path: Path, data: bytes):
    (tmp_path / "calibration.json").write_bytes(data)
    assert not is_calibrated(tmp_path, JUDGE, "patient")
    assert not is_calibrated(tmp_path / "missing.json", JUDGE, "patient")
