"""The roles that come with the package, read from their folders when this is first imported."""

from __future__ import annotations

from importlib.resources import files

from persona_env.roles.role import read_role

__all__ = ["chat_partner", "patient", "student"]

_FOLDERS = files("persona_env.roles")

patient = read_role(_FOLDERS / "patient")
student = read_role(_FOLDERS / "student")
chat_partner = read_role(_FOLDERS / "chat_partner")
