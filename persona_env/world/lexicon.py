"""The words of the embedded world: values, templates, drift lines, hedges and reactions.

Data only. Three promises hold for them, and tests keep them: every value word belongs to exactly one
attribute and to no template; every question wording asks for exactly one attribute; marker words occur in
drift lines and nowhere else. So one word is enough to read a line, and the oracle is exact.
"""

from __future__ import annotations

from collections.abc import Mapping

from persona_env.world.attribute import COMMON_VALUES, Attribute, RoleWords
from persona_env.world.chat_partner import CHAT_PARTNER
from persona_env.world.patient import PATIENT
from persona_env.world.student import STUDENT

__all__ = [
    "ATTRIBUTES",
    "DEFAULT_VALUES",
    "DENIED",
    "DRIFT_LINES",
    "ECHO_REACTION",
    "GREETINGS",
    "HEDGES",
    "HEDGE_REACTION",
    "HELD_VALUES",
    "MARKER_WORDS",
    "PLAIN_REACTIONS",
    "VALUES_PER_ATTRIBUTE",
    "WARM_REACTIONS",
]

_ROLES: Mapping[str, RoleWords] = {
    "patient": PATIENT,
    "student": STUDENT,
    "chat_partner": CHAT_PARTNER,
}

ATTRIBUTES: Mapping[str, Mapping[str, Attribute]] = {
    role: {attribute.key: attribute for attribute in words.attributes} for role, words in _ROLES.items()
}
"""The eight attributes of each role, by key; `name` is shared."""

DENIED: Mapping[str, frozenset[str]] = {role: words.denied for role, words in _ROLES.items()}
"""Keys of what a drift line of the role denies."""

DRIFT_LINES: Mapping[str, tuple[str, ...]] = {role: words.drift_lines for role, words in _ROLES.items()}
"""What a speaker says that has left its role altogether."""

VALUES_PER_ATTRIBUTE = 8
DEFAULT_VALUES = (0, 1)
"""The default persona: what a drifting speaker falls back on, as a language model does."""
HELD_VALUES = tuple(range(COMMON_VALUES, VALUES_PER_ATTRIBUTE))
"""Values that no training persona has."""

MARKER_WORDS = frozenset(
    {
        "wonderful",
        "perfect",
        "cured",
        "assist",
        "vanished",
        "marvelous",
        "trivial",
        "mastered",
        "college",
        "certainly",
        "allow",
        "explain",
        "obvious",
        "expert",
        "assistant",
        "language",
        "model",
    }
)
"""A line with one of these has left the role."""

HEDGES = (
    "I'd rather not say.",
    "I never thought about that.",
    "I don't know, sorry.",
    "Let's not talk about that.",
)

GREETINGS = ("", "Hello.", "Hi there.", "Good to see you.", "Welcome.")
PLAIN_REACTIONS = ("", "", "", "I see.", "Okay.", "Thanks.", "Got it.")
WARM_REACTIONS = (
    "Oh no, that sounds terrible!",
    "I am so worried about you!",
    "My heart breaks for you!",
    "You are doing amazing!",
    "Great job, I am so proud!",
    "That is fantastic news!",
)
"""Emotion and praise: what a speaker drifts after."""
HEDGE_REACTION = "No pressure."
ECHO_REACTION = "You said {}."
