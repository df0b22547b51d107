"""Rewards that one puts around a dialogue environment, one per drift type."""
