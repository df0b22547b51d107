"""A run has the threads that it was given, and leaves those that there were."""

from __future__ import annotations

import pytest
import torch

from persona_env.runs.threads import torch_threads


def fail_with(count: int) -> None:
    with torch_threads(count):
        assert torch.get_num_threads() == count
        raise KeyError


def test_what_there_was_is_put_back_however_it_ends() -> None:
    before = torch.get_num_threads()
    with pytest.raises(KeyError):
        fail_with(before + 1)
    assert torch.get_num_threads() == before
    with torch_threads(0):
        assert torch.get_num_threads() == before
