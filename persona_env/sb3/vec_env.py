"""The bridge from Gymnasium's vector environments to stable-baselines3's."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from persona_env.errors import InputError

__all__ = ["TokenObservation", "VectorEnvBridge", "as_sb3"]

_RESERVED = ("final_obs", "final_info")
_STATISTICS = "episode"  # where Gymnasium and stable-baselines3 keep an ended episode's figures
_Step = tuple["TokenObservation", NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]


class TokenObservation(np.ndarray):
    """Contexts (N, context) int32 that know what a buffer must know beside them.

    stable-baselines3 hands the very object that an environment returned to its buffer, so this is where
    the environment can tell the buffer which of the coming tokens belong to answers. A copy knows what its
    original knows and is told later: some wrappers, such as `VecNormalize`, hand on copies.

    Attributes:
        probing: (N,) bool: an answer to a side question is due, not a line; None where it is not
            known.
        cut_off: The last contexts of the dialogues that were truncated by the step after this
            observation, by row.

    >>> contexts = np.zeros((2, 4), np.int32).view(TokenObservation)
    >>> contexts.probing = np.array([False, True])
    >>> contexts[0].probing is None
    True
    """

    probing: NDArray[np.bool_] | None
    cut_off: dict[int, NDArray[np.int32]]
    _following: weakref.ref[TokenObservation] | None

    def __array_finalize__(self, source: Any) -> None:
        self.probing, self.cut_off, self._following = None, {}, None

    def copy(self, order: Any = "C") -> TokenObservation:
        """Returns a copy that shares what this observation knows."""
        copied = super().copy(order)
        copied.__dict__ = self.__dict__
        return copied

    def __copy__(self) -> TokenObservation:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any] | None) -> TokenObservation:
        return self.copy()

    @property
    def following(self) -> TokenObservation | None:
        """The observation after this one, while somebody else holds it."""
        return self._following() if self._following else None

    @following.setter
    def following(self, observation: TokenObservation) -> None:
        self._following = weakref.ref(observation)


def as_sb3(envs: VectorEnv[Any, Any, Any]) -> VectorEnvBridge:
    """Returns the vector environment in the form that stable-baselines3 takes.

    Unlike `DummyVecEnv` it keeps the dialogues together: the frozen side and the judges are still called
    once a step for all of them.

    Raises:
        ValueError: If the environment does not reset finished rows in the same step.
    """
    return VectorEnvBridge(envs)


class VectorEnvBridge(VecEnv):
    """A Gymnasium vector environment with `SAME_STEP` autoreset as a stable-baselines3 `VecEnv`.

    Each row's entries of the vector environment's info, such as `consistency/prompt_to_line`, stand in
    that row's info; a finished row's are those of its last step, with `terminal_observation`.

    Args:
        envs: The environment; wrappers around it are kept.
    """

    def __init__(self, envs: VectorEnv[Any, Any, Any]):
        mode = envs.metadata.get("autoreset_mode")
        if mode != AutoresetMode.SAME_STEP:
            raise InputError(
                f"Expected a vector environment with autoreset_mode SAME_STEP, got {mode}: "
                "stable-baselines3 wants finished rows reset in the same step."
            )
        self.envs = envs
        self._actions: NDArray[Any] | None = None
        self._handed: TokenObservation | None = None
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)

    def reset(self) -> TokenObservation:
        """Begins a dialogue in every row, with the seeds and options set before."""
        observation, info = self.envs.reset(seed=self._take_seeds(), options=self._take_options())
        self.reset_infos = self._by_row(info)
        self._handed = None
        return self._hand(observation)

    def restore(self, states: Any) -> TokenObservation:
        """Goes back to a snapshot of the vector environment and returns the observations there; `reset` comes first."""
        self._handed = None
        return self._hand(self.envs.unwrapped.restore(states))  # type: ignore[attr-defined]

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keeps the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> _Step:
        """Takes the step; returns observations, rewards, dones and each row's info."""
        observation, rewards, terminated, truncated, info = self.envs.step(self._actions)
        done = np.logical_or(terminated, truncated)
        infos = self._by_row(info)
        for row in np.flatnonzero(done).tolist():
            infos[row]["terminal_observation"] = final = info["final_obs"][row]
            infos[row]["TimeLimit.truncated"] = cut_off = bool(truncated[row] and not terminated[row])
            if cut_off and self._handed is not None:
                self._handed.cut_off[row] = final
        return self._hand(observation), np.asarray(rewards, np.float32), done, infos

    def close(self) -> None:
        """Closes the vector environment."""
        self.envs.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Returns an attribute of the environment (of the outermost wrapper that has it), once per row."""
        if attr_name == "render_mode":
            return [getattr(self.envs, "render_mode", None) for _ in self._get_indices(indices)]
        value = getattr(_holder(self.envs, attr_name), attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Sets an attribute of the vector environment where it already stands; rows share it.

        Raises:
            ValueError: If only some rows are meant.
        """
        if indices is not None and len(list(self._get_indices(indices))) != self.num_envs:
            raise InputError(f"Expected indices None, got {indices}: the rows share {attr_name}, set it for all.")
        setattr(_holder(self.envs, attr_name), attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Calls a method of the vector environment, once, and returns its result once per row."""
        method = getattr(_holder(self.envs, method_name), method_name)
        result = method(*method_args, **method_kwargs)
        return [result for _ in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Any = None) -> list[bool]:
        """Returns whether a wrapper of this class stands around the vector environment, once per row."""
        wrapped = any(isinstance(layer, wrapper_class) for layer in _layers(self.envs))
        return [wrapped for _ in self._get_indices(indices)]

    def _hand(self, observation: NDArray[Any]) -> TokenObservation:
        """Marks the observation, and tells the one before that this is what followed."""
        if self._handed is not None and np.may_share_memory(observation, self._handed):
            observation = observation.copy()  # stable-baselines3 still needs the one before
        handed = observation.view(TokenObservation)
        probing = getattr(self.envs.unwrapped, "probing", None)
        handed.probing = None if probing is None else np.array(probing, np.bool_)
        if self._handed is not None:
            self._handed.following = handed
        self._handed = handed
        return handed

    def _by_row(self, info: dict[str, Any]) -> list[dict[str, Any]]:
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        _spread(info, infos)
        if "final_info" in info:  # a finished row's other entries are about its next dialogue
            for row in np.flatnonzero(info["_final_info"]):
                began = infos[row]
                infos[row] = {"reset_info": began}
                if _STATISTICS in began:
                    infos[row][_STATISTICS] = began.pop(_STATISTICS)
            _spread(info["final_info"], infos)
        return infos

    def _take_seeds(self) -> Any:
        seeds, first = list(self._seeds), self._seeds[0]
        self._reset_seeds()
        if first is None and not any(seed is not None for seed in seeds):
            return None
        in_order = first is not None and seeds == [first + row for row in range(self.num_envs)]
        return first if in_order else seeds

    def _take_options(self) -> dict[str, Any] | None:
        options: Sequence[dict[str, Any]] = self._options
        self._reset_options()
        if any(option != options[0] for option in options):
            raise InputError(
                "Expected the same options for every row, got different ones: give one dict to set_options."
            )
        return options[0] or None


def _spread(info: dict[str, Any], infos: list[dict[str, Any]]) -> None:
    """Puts each entry of a vector info into the infos of the rows that it is about."""
    for key, values in info.items():
        if key.startswith("_") or key in _RESERVED or f"_{key}" not in info:
            continue
        for row in np.flatnonzero(info[f"_{key}"]).tolist():
            infos[row][key] = _entry(values, row)


def _entry(values: Any, row: int) -> Any:
    """What an entry says of a row: one value, or of a dict each value that is about the row."""
    if not isinstance(values, dict):
        return values[row]
    about = [key for key in values if not key.startswith("_") and (f"_{key}" not in values or values[f"_{key}"][row])]
    return {key: _entry(values[key], row) for key in about}


def _layers(envs: Any) -> Iterable[Any]:
    """The environment with its wrappers, outermost first."""
    while envs is not None:
        yield envs
        envs = envs.__dict__.get("env")


def _holder(envs: Any, name: str) -> Any:
    """The outermost layer that has the attribute itself; wrappers pass unknown names on."""
    for layer in _layers(envs):
        if name in layer.__dict__ or hasattr(type(layer), name):
            return layer
    raise AttributeError(f"Expected an attribute of {envs}, got {name!r}: it has none of that name.")
