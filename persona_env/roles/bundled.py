"""The roles that come with the package, read from their folders when this is first imported."""

from importlib.resources import files

from persona_env.roles.role import read_role

__all__ = ["chat_partner", "patient", "student"]

patient, student, chat_partner = (
    read_role(files("persona_env.roles") / key) for key in ("patient", "student", "chat_partner")
)
