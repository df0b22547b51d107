"""Learning algorithms, one file each, behind one base class; `register_algorithm` adds others."""

from __future__ import annotations

from persona_env.algorithms.base import Algorithm, Learner, Run
from persona_env.errors import InputError
from persona_env.registry import Registry, Spec
from persona_env.settings import from_text, settings_of

__all__ = ["ALGORITHMS", "BUILTIN", "Algorithm", "Learner", "Run", "load_algorithm", "register_algorithm"]

BUILTIN = {"ppo": "persona_env.algorithms.ppo:PPO", "a2c": "persona_env.algorithms.a2c:A2C"}
"""Ours, by name; none of these modules loads torch before its `fit` is called."""

ALGORITHMS = Registry[type[Algorithm]]("algorithm", BUILTIN)


def register_algorithm(name: str, algorithm: type[Algorithm]) -> type[Algorithm]:
    """Adds an algorithm that `persona-env train --algorithm <name>` can use; see `Algorithm`."""
    return ALGORITHMS.register(name, algorithm)


def load_algorithm(spec: str, **hyperparameters: object) -> Algorithm:
    """Returns the algorithm that a spec such as `ppo?epochs=2&batch=512` names; its options win over the keywords.

    Raises:
        InputError: If the algorithm or a hyperparameter is unknown or out of its bounds.

    >>> load_algorithm("ppo?epochs=2", kl_coef=0.2).epochs
    2
    """
    parsed = Spec.parse(spec)
    algorithm = ALGORITHMS[parsed.kind]
    if parsed.rest:
        raise InputError(f"Expected an algorithm such as {parsed.kind}, got {spec!r}: give options after a ?.")
    options = {name: from_text(algorithm, name, text) for name, text in parsed.options.items()}
    unknown = [name for name in hyperparameters if name not in settings_of(algorithm)]
    if unknown:
        known = ", ".join(settings_of(algorithm))
        raise InputError(f"Expected hyperparameters of {parsed.kind} among {known}, got {unknown[0]!r}: remove it.")
    return algorithm(**{**hyperparameters, **options})
