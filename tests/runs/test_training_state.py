"""A checkpoint comes back bit for bit, and one that this version did not write is refused in one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from persona_env.algorithms.on_policy_learner import OnPolicyLearner
from persona_env.algorithms.ppo import PPO
from persona_env.runs.checkpoint import Checkpoints
from persona_env.runs.config import RunConfig
from persona_env.runs.costs import CostLog
from persona_env.runs.run_folder import RunFolder
from persona_env.runs.training import Training, training_envs
from persona_env.runs.training_state import random_state, write_state
from persona_env.speakers.local import LanguageModel

ALGORITHM = PPO(steps=4, batch=8)
CONFIG = RunConfig(envs=2, tokens=16, split="dev", threads=1, checkpoint_every=1, algorithm=ALGORITHM)


def training(path: Path) -> Training:
    folder = RunFolder(path, resume=path.exists())
    return Training(CONFIG, folder=folder, checkpoints=Checkpoints(folder), cost_log=CostLog(folder))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last checkpoint of a finished training."""
    path = tmp_path_factory.mktemp("runs") / "run"
    RunFolder(path).create().write_json("config.json", CONFIG.as_json())
    training(path).fit(LanguageModel.load("tiny"), training_envs(CONFIG))
    return path / "checkpoints" / "rollout-000000000016"


@pytest.fixture(scope="module")
def learner() -> OnPolicyLearner:
    return OnPolicyLearner(ALGORITHM.make(LanguageModel.load("tiny"), training_envs(CONFIG), 0))


def test_what_was_written_comes_back(trained: Path, learner: OnPolicyLearner):
    assert training(trained.parents[1]).resume(learner)
    assert learner.tokens == 16
    state = json.loads((trained / "state.json").read_text())
    assert json.loads(json.dumps(write_state(learner.state()))) == state["learner"]
    assert random_state() == state["random"]
    saved, tensors = load_file(trained / "tensors.safetensors"), learner.tensors()
    assert saved.keys() == tensors.keys()
    assert any(name.startswith("optimizer.") for name in saved)
    assert all(torch.equal(saved[name], tensors[name]) for name in saved)


HARMS: dict[str, Callable[[dict[str, Any]], object]] = {
    "no optimizer": lambda state: state["learner"]["of"].pop("optimizer"),
    "an optimizer that is none": lambda state: state["learner"]["of"].update(optimizer=3),
    "no learner": lambda state: state.pop("learner"),
    "no episodes": lambda state: state["learner"]["of"].update(episodes=None),
    "a generator of another size": lambda state: state["random"].update(torch="00"),
    "a generator that is no hexadecimal text": lambda state: state["random"].update(torch="xy\x1b[2J"),
    "a list of generators": lambda state: state.update(random=[]),
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_a_forged_state_is_refused_in_one_line(trained: Path, learner: OnPolicyLearner, tmp_path: Path, harm: Any):
    def fill(path: Path) -> None:
        state = json.loads((trained / "state.json").read_text())
        harm(state)
        (path / "state.json").write_text(json.dumps(state))
        shutil.copy(trained / "tensors.safetensors", path)

    Checkpoints(RunFolder(tmp_path / "run").create()).write(16, fill)
    (tmp_path / "run" / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"^Expected ") as refused:
        training(tmp_path / "run").resume(learner)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 400
