"""The embedded world: CartPole for persona drift.

A grammar of persona dialogues, the exact oracle that reads it, a task agent, and a tiny model that drifts.
"""

from persona_env.world.persona_space import SPLITS, PersonaSpace, personas

__all__ = ["SPLITS", "PersonaSpace", "personas"]
