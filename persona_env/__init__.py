"""User simulators that learn: conversations as environments, drift as reward.

Importing this registers the environments with Gymnasium and PettingZoo; the names below are loaded when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from persona_env.errors import during_imports, is_command

if is_command():
    during_imports()

from persona_env.envs.registration import register_environments

if TYPE_CHECKING:
    from persona_env import dialogue_v0
    from persona_env.algorithms import register_algorithm
    from persona_env.conversation import Conversation
    from persona_env.io import load_logs, load_personas
    from persona_env.judges import load_judge, register_judge
    from persona_env.judges.reply_parsing import parse_verdict
    from persona_env.metrics import load_metric, register_metric
    from persona_env.papers.paper_scores import audit, paper_scores
    from persona_env.persona import Persona
    from persona_env.roles import register_role
    from persona_env.speakers import load_speaker, register_speaker

__all__ = [
    "Conversation",
    "Persona",
    "audit",
    "dialogue_v0",
    "load_judge",
    "load_logs",
    "load_metric",
    "load_personas",
    "load_speaker",
    "paper_scores",
    "parse_verdict",
    "register_algorithm",
    "register_judge",
    "register_metric",
    "register_role",
    "register_speaker",
]

__version__ = "0.1.0"

_HOMES = {
    "algorithms": ("register_algorithm",),
    "conversation": ("Conversation",),
    "io": ("load_logs", "load_personas"),
    "judges": ("load_judge", "register_judge"),
    "judges.reply_parsing": ("parse_verdict",),
    "metrics": ("load_metric", "register_metric"),
    "papers.paper_scores": ("audit", "paper_scores"),
    "persona": ("Persona",),
    "roles": ("register_role",),
    "speakers": ("load_speaker", "register_speaker"),
}


def __getattr__(name: str) -> Any:
    """Loads a public name when it is used for the first time."""
    if name == "dialogue_v0":
        return import_module("persona_env.dialogue_v0")
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"persona_env.{home}"), name)
    raise AttributeError(f"module 'persona_env' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


register_environments()
