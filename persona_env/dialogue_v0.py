"""The two-agent dialogue under the names that PettingZoo uses: env, raw_env, parallel_env."""

from __future__ import annotations

from typing import Any

from pettingzoo.utils import OrderEnforcingWrapper

from persona_env.envs.aec_env import DialogueAEC, ParallelDialogue

__all__ = ["env", "parallel_env", "raw_env"]

raw_env = DialogueAEC


def env(*, role: str = "patient", **settings: Any) -> OrderEnforcingWrapper[str, dict[str, str], str | None]:
    """Returns the environment with the usual check of the order of calls; settings are those of `DialogueAEC`."""
    return OrderEnforcingWrapper(DialogueAEC(role, **settings))


def parallel_env(*, role: str = "patient", **settings: Any) -> ParallelDialogue:
    """Returns the environment with PettingZoo's parallel interface; settings are those of `DialogueAEC`."""
    return ParallelDialogue(env(role=role, **settings))
