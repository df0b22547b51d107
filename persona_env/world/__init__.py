"""The embedded world: a grammar of persona dialogues, its exact oracle, a task agent, and a tiny model that drifts."""

from persona_env.world.persona_space import SPLITS, PersonaSpace, personas

__all__ = ["SPLITS", "PersonaSpace", "personas"]
