"""Paths that cannot be used are refused in one line, and nothing outside the given folder is touched."""

from pathlib import Path

import pytest

from tests.reliability import r21_paths as paths


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return paths.prepared(tmp_path)


def test_personas_may_be_called_like_paths(work: Path):
    assert not paths.named_like_paths(work)


@pytest.mark.slow
def test_commands_with_paths_that_cannot_be_used_are_refused_and_leave_no_trace(work: Path):
    count, bad = paths.refused(work)
    assert not bad
    assert count > 80
