"""The end of a run whose judge cannot be trusted."""

from __future__ import annotations

from persona_env.models.faults import RunEnded

__all__ = ["JudgeUnreliable"]


class JudgeUnreliable(RunEnded):
    """The judge fails questions with known answers, or gives no answer that can be read."""

    exit_code = 77
