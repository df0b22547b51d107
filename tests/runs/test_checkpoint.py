"""A checkpoint is there whole or is not used; records come back as they were written."""

import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_env.conversation import Message
from persona_env.errors import InputError
from persona_env.persona import Persona
from persona_env.runs.checkpoint import Checkpoints
from persona_env.runs.run_folder import RunFolder
from persona_env.runs.serialization import Serializer, reading_checkpoint


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(RunFolder(tmp_path).create())


def write(checkpoints: Checkpoints, name: str) -> None:
    def fill(path: Path) -> None:
        (path / "state.json").write_text(json.dumps({"name": name}))
        (path / "tensors").write_bytes(bytes(range(256)))

    checkpoints.write(name, fill)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_the_last_whole_checkpoint_is_found(checkpoints: Checkpoints):
    assert checkpoints.newest("rollout-") is None
    for name in ("rollout-1", "rollout-3", "rollout-2", "stage-x"):
        write(checkpoints, name)
    found = checkpoints.newest("rollout-")
    assert found is not None
    assert json.loads((found / "state.json").read_text()) == {"name": "rollout-3"}
    assert checkpoints.find("stage-x")


@pytest.mark.parametrize("part", ["state.json", "tensors", "checksums.json"])
@pytest.mark.parametrize("harm", [flip, Path.unlink, halve])
def test_a_damaged_part_is_noticed_and_the_checkpoint_before_is_used(checkpoints: Checkpoints, part, harm):
    write(checkpoints, "rollout-1")
    write(checkpoints, "rollout-2")
    found = checkpoints.newest("rollout-")
    assert found is not None
    harm(found / part)
    before = checkpoints.newest("rollout-")
    assert before is not None
    assert (before.name, checkpoints.damaged) == ("rollout-1", ["rollout-2"])


def test_a_part_too_many_is_noticed(checkpoints: Checkpoints):
    write(checkpoints, "rollout-1")
    found = checkpoints.find("rollout-1")
    assert found is not None
    (found / "other").write_text("")
    assert checkpoints.find("rollout-1") is None


def test_a_checkpoint_that_fails_to_be_written_leaves_the_older_ones(checkpoints: Checkpoints):
    write(checkpoints, "rollout-1")

    def fails(path: Path) -> None:
        (path / "half").write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match=r"Expected a file .*rollout-2, got No space left on device: make room"):
        checkpoints.write("rollout-2", fails)
    found = checkpoints.newest("rollout-")
    assert found is not None
    assert (found.name, checkpoints.damaged) == ("rollout-1", [])
    assert [path.name for path in found.parent.iterdir()] == ["rollout-1"]


def test_only_the_last_two_are_kept(checkpoints: Checkpoints):
    for number in range(5):
        write(checkpoints, f"rollout-{number}")
    write(checkpoints, "stage-x")
    checkpoints.prune("rollout-")
    found = checkpoints.find("rollout-4")
    assert found is not None
    assert sorted(path.name for path in found.parent.iterdir()) == ["rollout-3", "rollout-4", "stage-x"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(max_examples=50, deadline=None)
@given(VALUES)
def test_whatever_is_written_is_read_back(value):
    serializer = Serializer([Message])
    text = json.dumps(serializer.write(value), allow_nan=False)
    assert repr(serializer.read(json.loads(text))) == repr(value)


def test_generators_and_records_come_back_as_they_were():
    serializer, rng = Serializer([Message]), np.random.default_rng(0)
    rng.integers(5, dtype=np.uint32)
    message = Message("simulator", "\ud800 \u2028 [/oops]")
    states = {"row": rng.bit_generator.state, "all": np.random.RandomState(3).get_state(legacy=False)}
    python = random.Random(1).getstate()
    read = serializer.read(json.loads(json.dumps(serializer.write((message, states, python)))))
    assert (read[0], read[2]) == (message, python)
    again = np.random.default_rng()
    again.bit_generator.state = read[1]["row"]
    assert again.random() == rng.random()
    other = np.random.RandomState()
    other.set_state(read[1]["all"])
    assert other.random() == np.random.RandomState(3).random()


def test_what_is_no_known_record_is_refused():
    serializer = Serializer([])
    for value in (Message("task", "Hello."), object(), {1: 2}, np.array([math.pi])):
        with pytest.raises(ValueError, match="Expected plain data"):
            serializer.write(value)
    with pytest.raises(ValueError, match="Expected a record"):
        serializer.read({"is": "Message", "side": "task", "text": "Hello."})


def test_an_error_of_a_record_is_not_told_at_any_length():
    with pytest.raises(InputError, match=r"^Expected ") as refused, reading_checkpoint():
        Serializer([Persona]).read({"is": "Persona", "id": "p", "role": "x" * 9000, "name": "", "prompt": ""})
    assert len(str(refused.value)) < 1000
