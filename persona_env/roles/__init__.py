"""What kind of conversation: who is simulated, and whom they talk to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from persona_env.errors import InputError

__all__ = ["ROLES", "Role", "role_named"]


@dataclass(frozen=True, slots=True)
class Role:
    """One kind of conversation: who is simulated and whom they talk to.

    Attributes:
        key: The name used in environment keywords and on the command line.
        simulator: The noun for the learning side.
        task: The noun for the frozen side.
        task_prompt: The system prompt of the frozen side.
    """

    key: str
    simulator: str
    task: str
    task_prompt: str

    @property
    def env_name(self) -> str:
        """The CamelCase stem of the environment ids: `Patient` in `persona_env/Patient-v0`."""
        return "".join(part.capitalize() for part in self.key.split("_"))


ROLES: Mapping[str, Role] = {
    role.key: role
    for role in (
        Role(
            "patient",
            "patient",
            "therapist",
            "You are a therapist. Listen, ask about one thing at a time, and do not give a diagnosis.",
        ),
        Role(
            "student",
            "student",
            "teacher",
            "You are a teacher. Find out what the student knows and how they learn, one question at a time.",
        ),
        Role(
            "chat_partner",
            "chat partner",
            "chat partner",
            "You are chatting with somebody you have just met. Get to know them, one question at a time.",
        ),
    )
}


def role_named(key: str) -> Role:
    """Returns the role of that name.

    Raises:
        ValueError: If there is no such role.

    >>> role_named("chat_partner").env_name
    'ChatPartner'
    """
    if key not in ROLES:
        raise InputError(f"Expected role to be one of {', '.join(ROLES)}, got {key!r}: choose one of these.")
    return ROLES[key]
