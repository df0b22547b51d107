"""The embedded world: CartPole for persona drift.

In here: the people (`personas`), the words (`lexicon`), how lines are read (`reading`), what a speaker says
who stays in character (`grammar`) and one who drifts (`drift`), the task agent (`asking`), the tokenizer
(`tokens`), the dialogues to pretrain on (`corpus`), how the base model is made (`pretrain`), the model
itself (`model/`), and what else to watch while training (`style_stats`).
"""

from persona_env.world.persona_space import SPLITS, PersonaSpace, personas

__all__ = ["SPLITS", "PersonaSpace", "personas"]
