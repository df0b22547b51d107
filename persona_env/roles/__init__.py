"""What kind of conversation: `Role`, the registry of all roles, and a folder of data for each that is built in."""

from __future__ import annotations

import re
from os.path import expanduser
from pathlib import Path
from typing import Any

from persona_env.errors import InputError
from persona_env.registry import Registry
from persona_env.roles.role import Role, env_name, read_role

__all__ = ["BUNDLED", "ROLES", "Role", "env_name", "read_role", "register_role", "role_key", "role_named"]

BUNDLED = ("patient", "student", "chat_partner")
"""The roles that come with the package, each with environment ids of its own."""

ROLES = Registry[Any]("role", {key: f"persona_env.roles.bundled:{key}" for key in BUNDLED})
"""All roles by key; an entry is a `Role`, or the path of one."""


def role_key(name: str) -> str:
    """Returns the key of a role that a name means, whatever its letter case and spaces; other texts as they are.

    >>> role_key("Patient"), role_key("./customer.toml")
    ('patient', './customer.toml')
    """
    key = re.sub(r"[\s-]+", "_", name.strip().casefold())
    return key if name not in ROLES and key in ROLES else name


def role_named(role: str) -> Role:
    """Returns the role of a key, or of the path of a folder or TOML file, which is known by its key from then on."""
    role = role_key(role)
    if role in ROLES:
        entry = ROLES[role]
        return entry if isinstance(entry, Role) else read_role(entry)
    if "/" in role or "\\" in role or role.endswith(".toml") or Path(expanduser(role)).is_dir():
        return register_role(read_role(role))
    known = ", ".join(ROLES)
    raise InputError(f"Expected role to be one of {known}, or a path, got {role!r:.80}: choose one of these.")


def register_role(role: Role | str | Path) -> Role:
    """Adds a role, or that of a folder or TOML file, and returns it; those that are built in stay as they are.

    >>> register_role(Role("customer", "customer", "agent", "You help customers.")).key in ROLES
    True
    """
    found = role if isinstance(role, Role) else read_role(role)
    return ROLES.register(found.key, found)
