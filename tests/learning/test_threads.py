"""A small model's rollouts run on one thread, its updates on all, and afterwards all is as it was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback

from persona_env.learning import threads
from persona_env.learning.threads import RolloutThreads, torch_threads
from tests.sb3.rollouts import make
from tests.sb3.toys import ToyDialogues, tiny_llama


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


class Seen(BaseCallback):
    """Notes the threads at each step and at the start of what follows a rollout."""

    def __init__(self) -> None:
        super().__init__()
        self.in_rollouts: set[int] = set()
        self.in_updates: set[int] = set()

    def _on_step(self) -> bool:
        self.in_rollouts.add(torch.get_num_threads())
        return True

    def _on_rollout_end(self) -> None:
        self.in_updates.add(torch.get_num_threads())


def seen() -> Seen:
    found = Seen()
    learner: Any = make(ToyDialogues(4), tiny_llama(), n_steps=16)
    learner.learn(2 * 16 * 4, callback=[RolloutThreads(), found])
    return found


def test_a_small_model_is_rolled_out_on_one_thread_and_updated_on_all() -> None:
    found = seen()
    assert (found.in_rollouts, found.in_updates) == ({1}, {2})
    assert torch.get_num_threads() == 2


def test_a_large_model_keeps_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "SMALL", 10)
    assert seen().in_rollouts == {2}


def fail_on_one_thread() -> None:
    with torch_threads(1):
        assert torch.get_num_threads() == 1
        raise KeyError


def test_what_there_was_is_put_back() -> None:
    with pytest.raises(KeyError):
        fail_on_one_thread()
    assert torch.get_num_threads() == 2
    with torch_threads(0):
        assert torch.get_num_threads() == 2
