"""Reproductions of published scores."""
