"""A learner's state that nobody has written is refused in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from persona_env.runs.training_state import load_tensors, restore_training_state, save_tensors, training_state
from persona_env.algorithms.loops import make_learner
from persona_env.runs.training_envs import rewarded_dialogues
from persona_env.runs.config import RunConfig
from persona_env.sb3 import as_sb3
from persona_env.speakers.local import LanguageModel


@pytest.fixture(scope="module")
def learner() -> OnPolicyAlgorithm:
    settings = RunConfig(envs=2, steps=4, tokens=8, batch=8, split="dev", threads=1)
    made = make_learner(as_sb3(rewarded_dialogues(settings)), settings, LanguageModel.load("tiny"))
    made._setup_learn(8)
    return made


@pytest.fixture
def written(learner: OnPolicyAlgorithm, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """The tensors' file and the state, as they come back from JSON."""
    file = tmp_path / "tensors.safetensors"
    state = {"optimiser": save_tensors(learner, file), "course": training_state(learner)}
    return file, json.loads(json.dumps(state))


def restored(learner: OnPolicyAlgorithm, file: Path, state: dict[str, Any]) -> None:
    load_tensors(learner, file, state["optimiser"])
    restore_training_state(learner, state["course"])


def test_what_was_written_comes_back(learner: OnPolicyAlgorithm, written: tuple[Path, dict[str, Any]]):
    file, state = written
    restored(learner, file, state)
    again = {"optimiser": save_tensors(learner, file), "course": training_state(learner)}
    assert json.loads(json.dumps(again)) == state


HARMS: dict[str, Callable[[dict[str, Any]], object]] = {
    "no settings of an optimiser": lambda state: state["optimiser"].clear(),
    "settings of no optimiser": lambda state: state["optimiser"].update(groups=3),
    "no course": lambda state: state["course"].clear(),
    "no rows": lambda state: state["course"].update(rows=None),
    "rows that are none": lambda state: state["course"].update(rows=[1, 2]),
    "no generator": lambda state: state["course"]["random"].pop("torch"),
    "a generator of another size": lambda state: state["course"]["random"].update(torch="00"),
    "a generator that is no hexadecimal text": lambda state: state["course"]["random"].update(torch="xy\x1b[2J"),
    "a list of generators": lambda state: state["course"].update(random=[]),
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_a_forged_state_is_refused_in_one_line(learner: OnPolicyAlgorithm, written: tuple[Path, dict[str, Any]], harm):
    file, state = written
    harm(state)
    with pytest.raises(ValueError, match=r"^Expected ") as refused:
        restored(learner, file, state)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 400
