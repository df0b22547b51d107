"""Simulated people as agents that learn: conversations as environments, drift as reward.

Importing this registers the environments with Gymnasium (`persona_env/Patient-v0`, ...) and
PettingZoo (`persona_env/dialogue-v0`); it loads no model library. The names below are loaded when
they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
    "register_speaker",
]

__version__ = "0.1.0"

_HOMES = {
    "Conversation": "conversation",
    "Persona": "persona",
    "audit": "papers.paper_scores",
    "load_judge": "judges",
    "register_judge": "judges",
    "load_logs": "io",
    "load_metric": "metrics",
    "load_personas": "io",
    "load_speaker": "speakers",
    "paper_scores": "papers.paper_scores",
    "parse_verdict": "judges.reply_parsing",
    "register_algorithm": "algorithms",
    "register_speaker": "speakers",
    "register_metric": "metrics",
}


def __getattr__(name: str) -> Any:
    """Loads a public name when it is used for the first time."""
    if name == "dialogue_v0":
        return import_module("persona_env.dialogue_v0")
    if name not in _HOMES:
        raise AttributeError(f"module 'persona_env' has no attribute {name!r}")
    return getattr(import_module(f"persona_env.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


register_environments()
