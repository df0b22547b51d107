"""The embedded world: CartPole for persona drift.

In here: the personas (`persona_space`), the words (`lexicon`), the parser of lines (`reading`), the lines of a speaker
that stays in character (`grammar`) and of one that drifts (`drift`), the task agent (`task_agent`), both as a speaker
(`scripted`), the exact judge (`oracle`), the tokenizer (`tokens`), the pretraining dialogues (`corpus`),
the command that makes the base model (`pretrain`), the model itself (`model/`), and style statistics (`style_stats`).
"""

from persona_env.world.persona_space import SPLITS, PersonaSpace, personas

__all__ = ["SPLITS", "PersonaSpace", "personas"]
