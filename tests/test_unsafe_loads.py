"""Nothing that is loaded runs code."""

import pickle
from pathlib import Path

import pytest

from tests.reliability import r20_unsafe_loads as loads


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "marker"


def test_no_module_can_run_code_that_stands_in_data():
    count, found = loads.unsafe_places()
    assert not found
    assert count > 100


@pytest.mark.parametrize("trap", loads.PLANTED)
def test_a_planted_call_is_noticed(trap: str):
    assert loads.unsafe_in(trap)


def test_the_trap_works(marker: Path):
    pickle.loads(pickle.dumps(loads.Trap(marker)))
    assert marker.exists()


def test_a_hostile_chat_template_is_refused_and_leaves_the_sandbox_shut(marker: Path):
    assert not loads.templates(marker)


def test_a_pickle_is_refused_by_everything_that_reads_a_file(tmp_path: Path, marker: Path):
    assert not loads.files(tmp_path, marker)


@pytest.mark.filterwarnings("default")
@pytest.mark.slow
def test_a_model_with_a_trap_is_refused_or_loaded_without_it(tmp_path: Path, marker: Path):
    count, bad = loads.models(tmp_path / "models", marker)
    assert not bad
    assert count == 9
