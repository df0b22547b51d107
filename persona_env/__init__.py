"""Simulated people as reinforcement-learning agents: conversations as environments, drift as reward."""

__version__ = "0.1.0"
