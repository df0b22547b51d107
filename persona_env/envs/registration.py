"""The environments' names for Gymnasium and PettingZoo, as strings: nothing is loaded."""

from __future__ import annotations

import gymnasium as gym
import pettingzoo

from persona_env.roles import BUNDLED, env_name

__all__ = ["AEC_ID", "env_ids", "register_environments"]

AEC_ID = "persona_env/dialogue-v0"
"""The two-agent environment in PettingZoo's registries, `aec` and `parallel`."""


def env_ids() -> dict[str, tuple[str | None, bool]]:
    """Returns for each Gymnasium id its role (None: any, as the keyword `role`), and whether its actions are tokens."""
    stems = {"Dialogue": None} | {env_name(key): key for key in BUNDLED}
    return {
        f"persona_env/{stem}{'Tokens' if tokens else ''}-v0": (role, tokens)
        for stem, role in stems.items()
        for tokens in (False, True)
    }


def register_environments() -> None:
    """Registers all environments; a second call changes nothing."""
    for env_id, (role, tokens) in env_ids().items():
        if env_id not in gym.registry:
            module, name = ("token_env", "Token") if tokens else ("line_env", "")
            gym.register(
                env_id,
                entry_point=f"persona_env.envs.{module}:{name}DialogueEnv",
                vector_entry_point=f"persona_env.envs.vector_env:{name}DialogueVectorEnv",
                kwargs={"role": role} if role else {},
            )
    if AEC_ID not in pettingzoo.aec_registry:
        pettingzoo.register("aec", AEC_ID, "persona_env.dialogue_v0:env")
        pettingzoo.register("parallel", AEC_ID, "persona_env.dialogue_v0:parallel_env")
