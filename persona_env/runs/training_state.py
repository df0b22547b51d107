"""The full state of a learner at a rollout boundary: what stable-baselines3's own save leaves out as well.

Between two rollouts the buffer is empty and nothing that was read is kept, so that the state is: weights
and optimiser (`safetensors`), every generator, the environments' rows, and a few counters (JSON).
"""

from __future__ import annotations

from persona_env.errors import InputError

import contextlib
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from torch import Tensor

from persona_env.conversation import Conversation, Message, Probe
from persona_env.envs.episode import EpisodeState, TokenState
from persona_env.runs.serialization import Plain
from persona_env.errors import printable
from persona_env.persona import Fact, Persona, QAItem

__all__ = ["as_written", "forget_what_was_read", "load_tensors", "restore_training_state", "save_tensors", "training_state"]

_PLAIN = Plain([EpisodeState, TokenState, Conversation, Message, Probe, Persona, Fact, QAItem])
_OPTIMISER = "optimiser."
_VALUE_HEAD = "value_head."


_MALFORMED = (ArithmeticError, AttributeError, LookupError, RuntimeError, SafetensorError, TypeError, ValueError)


@contextlib.contextmanager
def as_written() -> Iterator[None]:
    """Within, whatever a state that nobody has written lacks, or holds in another form, is one line.

    Raises:
        ValueError: If there is such a thing.
    """
    try:
        yield
    except _MALFORMED as error:
        if isinstance(error, ValueError) and str(error).startswith("Expected "):
            raise
        why = printable(" ".join(f"{type(error).__name__}: {error}".split()))[:120]
        raise InputError(
            f"Expected a checkpoint as this version writes it, got an error ({why}): delete it; an older one is used."
        ) from error


def forget_what_was_read(learner: OnPolicyAlgorithm) -> None:
    """Drops what the policy and the task agent have cached.

    A cached and a fresh reading differ in the last bits, so both an unbroken and a resumed run start
    each rollout without any.
    """
    envs: Any = learner.env
    for reader in (learner.policy, envs.envs.unwrapped.task_agent):
        reset_cache = getattr(reader, "reset_cache", None)
        if reset_cache is not None:
            reset_cache()


def training_state(learner: OnPolicyAlgorithm) -> dict[str, Any]:
    """Returns all of the state but the tensors, as plain data; cheap, and the tensors keep for a whole rollout."""
    envs: Any = learner.env
    return {
        "tokens": learner.num_timesteps,
        "updates": learner._n_updates,  # type: ignore[attr-defined]  # each on-policy algorithm counts them
        "left": learner._current_progress_remaining,
        "starts": np.asarray(learner._last_episode_starts).tolist(),
        "rows": _PLAIN.write(envs.envs.unwrapped.snapshot()),
        "random": _random_state(),
    }


def restore_training_state(learner: OnPolicyAlgorithm, course: Mapping[str, Any]) -> None:
    """Puts the learner where `training_state` found it; the generators come last, as making a learner draws from them.

    Raises:
        ValueError: If this is not what it returned.
    """
    envs: Any = learner.env
    envs.reset()  # the rewards join their probe_fns
    with as_written():
        learner._last_obs = envs.restore(_PLAIN.read(course["rows"]))
        learner._last_episode_starts = np.array(course["starts"], np.bool_)
        learner.num_timesteps, learner._current_progress_remaining = course["tokens"], course["left"]
        learner._n_updates = course["updates"]  # type: ignore[attr-defined]
        _set_random_state(course["random"])


def _random_state() -> dict[str, Any]:
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {
        "python": _PLAIN.write(random.getstate()),
        "numpy": _PLAIN.write(np.random.get_state(legacy=False)),
        "torch": _hex(torch.get_rng_state()),
        "cuda": [_hex(state) for state in devices],
    }


def _set_random_state(state: Mapping[str, Any]) -> None:
    random.setstate(_PLAIN.read(state["python"]))
    np.random.set_state(_PLAIN.read(state["numpy"]))
    torch.set_rng_state(_from_hex(state["torch"]))
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([_from_hex(one) for one in state["cuda"]])


def _hex(state: Tensor) -> str:
    return state.numpy().tobytes().hex()


def _from_hex(text: str) -> Tensor:
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)


def save_tensors(learner: OnPolicyAlgorithm, path: Path) -> dict[str, Any]:
    """Writes what is trained, the critic and the optimiser's state to a `safetensors` file.

    Returns:
        The optimiser's settings, as plain data.
    """
    state = learner.policy.optimizer.state_dict()
    tensors = {name: weight.detach() for name, weight in _weights(learner).items()}
    for number, entries in state["state"].items():
        for name, entry in entries.items():
            tensors[f"{_OPTIMISER}{number}.{name}"] = torch.as_tensor(entry)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return {"groups": _PLAIN.write(state["param_groups"])}


@as_written()
def load_tensors(learner: OnPolicyAlgorithm, path: Path, optimiser: Mapping[str, Any]) -> None:
    """Reads back what `save_tensors` wrote.

    Raises:
        ValueError: If the file is of another model, or the settings are not those of an optimiser.
    """
    found, weights = load_file(path), _weights(learner)
    saved = {name for name in found if not name.startswith(_OPTIMISER)}
    if saved != weights.keys() or any(found[name].shape != weights[name].shape for name in weights):
        odd = min(saved ^ weights.keys(), default="another shape")
        raise InputError(
            f"Expected a checkpoint of this simulator, got one of another ({odd}): give the model it began with."
        )
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(found[name])
    state: dict[int, dict[str, Tensor]] = {}
    for name in filter(lambda name: name.startswith(_OPTIMISER), found):
        number, _, entry = name.removeprefix(_OPTIMISER).partition(".")
        state.setdefault(int(number), {})[entry] = found[name]
    groups = [{**group, "params": list(group["params"])} for group in _PLAIN.read(optimiser["groups"])]
    learner.policy.optimizer.load_state_dict({"state": state, "param_groups": groups})


def _weights(learner: OnPolicyAlgorithm) -> dict[str, Tensor]:
    """What training changes, by name; weights that are tied stand there once."""
    policy: Any = learner.policy
    trained = {name: weight for name, weight in policy.named_parameters() if weight.requires_grad}
    return trained | {
        _VALUE_HEAD + name: weight for name, weight in policy.value_head.state_dict(keep_vars=True).items()
    }
