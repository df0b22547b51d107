"""A checkpoint is there whole or is not used; records come back as they were written."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_env.errors import InputError
from persona_env.runs.checkpoint import Checkpoints
from persona_env.runs.run_folder import RunFolder
from persona_env.runs.training_state import read_state, reading_checkpoint, write_state


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(RunFolder(tmp_path).create())


def write(checkpoints: Checkpoints, *tokens: int) -> None:
    def fill(path: Path) -> None:
        (path / "state.json").write_text('{"tokens": 1}')
        (path / "tensors").write_bytes(bytes(range(256)))

    for number in tokens:
        checkpoints.write(number, fill)


def newest(checkpoints: Checkpoints) -> Path:
    found = checkpoints.newest()
    assert found is not None
    return found


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_the_last_two_stay_and_the_last_whole_one_is_found(checkpoints: Checkpoints):
    assert checkpoints.newest() is None
    write(checkpoints, 1, 2, 30)
    assert newest(checkpoints).name == "rollout-000000000030"
    names = sorted(path.name for path in newest(checkpoints).parent.iterdir())
    assert names == ["rollout-000000000002", "rollout-000000000030"]
    assert json.loads((newest(checkpoints) / "state.json").read_text()) == {"tokens": 1}


@pytest.mark.parametrize("part", ["state.json", "tensors", "checksums.json"])
@pytest.mark.parametrize("harm", [flip, Path.unlink, halve])
def test_a_damaged_part_is_noticed_and_the_checkpoint_before_is_used(checkpoints: Checkpoints, part, harm):
    write(checkpoints, 1, 2)
    harm(newest(checkpoints) / part)
    assert newest(checkpoints).name == "rollout-000000000001"
    assert checkpoints.damaged == ["rollout-000000000002"]


def test_a_part_too_many_is_noticed(checkpoints: Checkpoints):
    write(checkpoints, 1)
    (newest(checkpoints) / "other").write_text("")
    assert checkpoints.newest() is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(max_examples=50, deadline=None)
@given(VALUES)
def test_whatever_is_written_is_read_back(value):
    text = json.dumps(write_state(value), allow_nan=False)
    assert repr(read_state(json.loads(text))) == repr(value)


@pytest.mark.parametrize("value", [object(), {1: 2}, np.array([math.pi])])
def test_what_is_no_known_record_is_not_written(value):
    with pytest.raises(ValueError, match="Expected plain data"):
        write_state(value)


def test_what_is_no_known_record_is_not_read_and_an_error_is_not_told_at_any_length():
    with pytest.raises(ValueError, match="Expected a record"):
        read_state({"is": "Path", "of": "x"})
    with pytest.raises(InputError, match=r"^Expected ") as refused, reading_checkpoint():
        read_state({"is": "Persona", "id": "p", "role": "x" * 9000, "name": "", "prompt": ""})
    assert len(str(refused.value)) < 1000
