"""How a kit says which clause does not hold."""

from __future__ import annotations

__all__ = ["require"]


def require(holds: bool, clause: str, message: str) -> None:
    """Raises AssertionError with the clause's name unless it holds."""
    if not holds:
        raise AssertionError(f"{clause}: {message}")
