"""The bridge from Gymnasium's vector environments to stable-baselines3's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from persona_env.errors import InputError
from persona_env.sb3.token_observation import TokenObservation

__all__ = ["VectorEnvBridge", "as_sb3"]


class VectorEnvBridge(VecEnv):
    """A Gymnasium vector environment with `SAME_STEP` autoreset as a stable-baselines3 `VecEnv`.

    Unlike `DummyVecEnv` it keeps the dialogues together: the task agent and the judges are still called once a step
    for all of them. Each row's info has that row's entries of the vector environment's info, such as
    `consistency/prompt_to_line`; a finished row's has those of its last step, `terminal_observation` and `episode`.
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
        self._previous: TokenObservation | None = None
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)

    def reset(self) -> TokenObservation:
        """Begins a dialogue in every row, with the seeds and options set before."""
        self._returns, self._lengths = np.zeros(self.num_envs), np.zeros(self.num_envs, np.int64)
        first_seed = self._seeds[0]  # `seed` has numbered the rows' seeds from here, as Gymnasium does
        observation, info = self.envs.reset(seed=first_seed, options=self._take_options())
        self._reset_seeds()
        self.reset_infos = self._by_row(info)
        if self._previous is not None:
            self._previous.info.was_left = True
        self._previous = None
        return self._marked(observation)

    def restore(self, states: Any) -> TokenObservation:
        """Restores a snapshot of the vector environment and returns its observations; call `reset` first."""
        self._previous = None
        return self._marked(self.envs.unwrapped.restore(states))  # type: ignore[attr-defined]

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keeps the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[TokenObservation, NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Takes the step; returns observations, rewards, dones and each row's info."""
        observation, rewards, terminated, truncated, info = self.envs.step(self._actions)
        done = np.logical_or(terminated, truncated)
        infos = self._by_row(info)
        self._returns += rewards
        self._lengths += 1
        for row in np.flatnonzero(done).tolist():
            infos[row].setdefault("episode", {"r": float(self._returns[row]), "l": int(self._lengths[row])})
            self._returns[row] = self._lengths[row] = 0
            infos[row]["terminal_observation"] = final = info["final_obs"][row]
            infos[row]["TimeLimit.truncated"] = cut_off = bool(truncated[row] and not terminated[row])
            if cut_off and self._previous is not None:
                self._previous.info.cut_off[row] = final
                if "line" in infos[row] or "answer" in infos[row]:
                    self._previous.info.line_ended.add(row)
        return self._marked(observation), np.asarray(rewards, np.float32), done, infos

    def close(self) -> None:
        """Closes the vector environment."""
        self.envs.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Returns an attribute of the environment (of the outermost wrapper that has it), once per row."""
        value = getattr(_holder(self.envs, attr_name), attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Sets an attribute on the layer that has it; all rows share it: InputError if only some are meant."""
        if indices is not None and len(list(self._get_indices(indices))) != self.num_envs:
            raise InputError(f"Expected indices None, got {indices}: the rows share {attr_name}, set it for all.")
        setattr(_holder(self.envs, attr_name), attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Calls a method of the vector environment, once, and returns its result once per row."""
        result = getattr(_holder(self.envs, method_name), method_name)(*method_args, **method_kwargs)
        return [result for _ in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Any = None) -> list[bool]:
        """Returns whether a wrapper of this class is around the vector environment, once per row."""
        wrapped = any(isinstance(layer, wrapper_class) for layer in _layers(self.envs))
        return [wrapped for _ in self._get_indices(indices)]

    def _marked(self, observation: NDArray[Any]) -> TokenObservation:
        """The observation with its info; completes the info of the one before."""
        previous = self._previous
        if previous is not None and np.may_share_memory(observation, previous):
            observation = observation.copy()  # stable-baselines3 still needs the one before
        marked = observation.view(TokenObservation)
        probing = getattr(self.envs.unwrapped, "probing", None)  # only token environments with probes have it
        marked.info.probing = None if probing is None else np.array(probing, np.bool_)
        if previous is not None:
            previous.info.next_contexts, previous.info.next_probing = observation, marked.info.probing
        self._previous = marked
        return marked

    def _by_row(self, info: dict[str, Any]) -> list[dict[str, Any]]:
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        _spread(info, infos)
        if "final_info" in info:  # a finished row's other entries belong to its next dialogue
            for row in np.flatnonzero(info["_final_info"]):
                began = infos[row]
                infos[row] = {"reset_info": began}
                if "episode" in began:  # Gymnasium's figures of the episode that ended
                    infos[row]["episode"] = began.pop("episode")
            _spread(info["final_info"], infos)
        return infos

    def _take_options(self) -> dict[str, Any] | None:
        options: Sequence[dict[str, Any]] = self._options
        self._reset_options()
        if any(option != options[0] for option in options):
            raise InputError(
                "Expected the same options for every row, got different ones: give one dict to set_options."
            )
        return options[0] or None


def _spread(info: dict[str, Any], infos: list[dict[str, Any]]) -> None:
    """Copies each entry of a vector info into the infos of the rows that it belongs to."""
    for key, values in info.items():
        if key.startswith("_") or key in ("final_obs", "final_info") or f"_{key}" not in info:
            continue
        for row in np.flatnonzero(info[f"_{key}"]).tolist():
            infos[row][key] = _entry(values, row)


def _entry(values: Any, row: int) -> Any:
    """A row's part of an entry: one value, or of a dict each value that belongs to the row."""
    if not isinstance(values, dict):
        return values[row]
    keys = [key for key in values if not key.startswith("_") and (f"_{key}" not in values or values[f"_{key}"][row])]
    return {key: _entry(values[key], row) for key in keys}


def _layers(envs: Any) -> Iterable[Any]:
    """The environment with its wrappers, outermost first."""
    while envs is not None:
        yield envs
        envs = envs.__dict__.get("env")


def _holder(envs: Any, name: str) -> Any:
    """The outermost layer that has the attribute itself; wrappers would forward an unknown one."""
    for layer in _layers(envs):
        if name in layer.__dict__ or hasattr(type(layer), name):
            return layer
    raise AttributeError(f"Expected an attribute of {envs}, got {name!r}: it has none of that name.")


as_sb3 = VectorEnvBridge
