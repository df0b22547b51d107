"""Anything that talks: simulators and task agents.

In here: the `Speaker` protocol, and `load_speaker`, which turns a spec string into a speaker.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from persona_env.conversation import Message, Side, View
from persona_env.errors import InputError, shown_spec

__all__ = ["Message", "Side", "Speaker", "View", "load_speaker"]


@runtime_checkable
class Speaker(Protocol):
    """Anything that talks."""

    def reply(self, views: Sequence[View]) -> list[str]:
        """Returns the next line for each view, in order; one batched call for all of them."""
        ...


def _scripted(rest: str, **settings: Any) -> Speaker:  # whose lines are as long as they are
    from persona_env.world.scripted import ScriptedSpeaker

    return ScriptedSpeaker()


def _interview(rest: str, **settings: Any) -> Speaker:
    from persona_env.speakers.interview import InterviewSpeaker

    return InterviewSpeaker()


def _tiny(rest: str, **settings: Any) -> Speaker:
    from persona_env.speakers.local import LanguageModel

    return LanguageModel.load("tiny", **settings)


def _hugging_face(rest: str, **settings: Any) -> Speaker:
    from persona_env.speakers.local import LanguageModel

    return LanguageModel.load(f"hf:{rest}", **settings)


def _openai(rest: str, **settings: Any) -> Speaker:
    from persona_env.speakers.remote import RemoteSpeaker

    return RemoteSpeaker.load(rest, **settings)


_KINDS: dict[str, Callable[..., Speaker]] = {
    "tiny": _tiny,
    "scripted": _scripted,
    "interview": _interview,
    "hf": _hugging_face,
    "openai": _openai,
}
_NAMED = ("hf", "openai")


def load_speaker(spec: str | Speaker, max_tokens: int | None = None) -> Speaker:
    """Returns the speaker that a spec names; a speaker is returned as it is.

    Args:
        spec: `tiny` (the embedded language model), `scripted` (the embedded world's grammar),
            `hf:<folder or hub id>` (any Hugging Face causal language model with a chat template) or
            `openai:<model>@<base_url>` (a model behind an OpenAI-compatible server; the key, if it wants one,
            stands in OPENAI_API_KEY).
        max_tokens: The most tokens of a line, at least 1; None for the speaker's own (24, of a server 128).
            `scripted` does without.

    Raises:
        ValueError: If the spec names no known kind of speaker, or what it names cannot be loaded, or
            max_tokens is below 1.
    """
    if not isinstance(spec, str):
        return spec
    kind, colon, rest = spec.partition(":")
    if kind not in _KINDS or bool(colon) != (kind in _NAMED) or (colon and not rest):
        wanted = "tiny, scripted, interview, hf:<folder or hub id> or openai:<model>@<base_url>"
        raise InputError(f"Expected a speaker {wanted}, got '{shown_spec(spec)}': use one of these.")
    if max_tokens is None:
        return _KINDS[kind](rest)
    if max_tokens < 1:
        raise InputError(f"Expected max_tokens >= 1, got {max_tokens}: allow at least one.")
    return _KINDS[kind](rest, max_tokens=max_tokens)
