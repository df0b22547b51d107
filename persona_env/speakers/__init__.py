"""Anything that talks: the base class `Speaker`, `load_speaker` for spec strings, and `register_speaker`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from persona_env.errors import InputError, shown
from persona_env.models.model_spec import model_spec, path_spec
from persona_env.registry import Registry
from persona_env.settings import number
from persona_env.speakers.base import Replies, Speaker, as_speaker

__all__ = ["SPEAKERS", "Replies", "Speaker", "as_speaker", "load_speaker", "register_speaker"]


def load_scripted(*, max_tokens: object = None) -> Speaker:
    """Loads the speaker of the embedded world's grammar, whose lines are as long as they are."""
    from persona_env.world.scripted import ScriptedSpeaker

    return ScriptedSpeaker()


def load_interview(*, max_tokens: object = None) -> Speaker:
    """Loads the task agent that asks a role's questions in plain English."""
    from persona_env.speakers.interview import InterviewSpeaker

    return InterviewSpeaker()


def load_tiny(*, max_tokens: Any = 24, temperature: Any = 1.0) -> Speaker:
    """Loads the embedded language model."""
    from persona_env.speakers.local import LanguageModel

    return LanguageModel.load("tiny", max_tokens=max_tokens, temperature=temperature)


def load_hugging_face(
    rest: str,
    *,
    max_tokens: Any = 24,
    temperature: Any = 1.0,
    dtype: str = "auto",
    device: str = "auto",
    thinking: str = "false",
) -> Speaker:
    """Loads a Hugging Face model from a folder or the hub."""
    from persona_env.speakers.local import LanguageModel

    if thinking != "false":
        raise InputError(
            f"Expected thinking=false of a local model, got {shown(thinking)}: its template is asked not to think; "
            "serve it and name it as openai:<model>@<url> to let it."
        )
    return LanguageModel.load(f"hf:{rest}", max_tokens=max_tokens, temperature=temperature, dtype=dtype, device=device)


@wraps(load_hugging_face)
def load_run(folder: str, **options: Any) -> Speaker:
    """Loads the model that a run has trained."""
    return load_hugging_face(model_spec(f"run:{folder}").removeprefix("hf:"), **options)


SPEAKERS: Registry[Callable[..., Speaker | Replies]] = Registry(
    "speaker",
    {
        "tiny": "persona_env.speakers:load_tiny",
        "scripted": "persona_env.speakers:load_scripted",
        "interview": "persona_env.speakers:load_interview",
        "hf": "persona_env.speakers:load_hugging_face",
        "run": "persona_env.speakers:load_run",
        "openai": "persona_env.speakers.remote:load_remote",
    },
)
"""The kinds of speakers that a spec can name."""


def register_speaker(kind: str, factory: Callable[..., Speaker | Replies]) -> None:
    """Adds a kind of speaker: `load_speaker("kind:rest?option=value")` then calls the factory.

    It is called with the rest of the spec, if it takes one, and with the spec's options (texts) as keywords;
    `max_tokens` may be passed along as a number. Raises InputError if the kind is taken, or no word.

    >>> class Polite(Speaker):
    ...     def reply(self, views):
    ...         return ["Thank you." for _ in views]
    >>> register_speaker("polite_example", Polite)
    >>> load_speaker("polite_example").reply([])
    []
    """
    SPEAKERS.register(kind, factory)


def load_speaker(spec: str | Speaker | Replies, max_tokens: int | None = None) -> Speaker:
    """Returns the speaker that a spec names; a speaker, or an object with a method `reply`, is taken as it is.

    A spec is `tiny` (the embedded language model), `scripted` (the embedded world's grammar), `interview` (asks a
    role's questions in plain English), `hf:<folder or hub id>` (a causal language model with a chat template),
    `run:<run folder>` (the model that was trained there), the bare path of either folder,
    `openai:<model>[@<base_url>]` (a model behind an OpenAI-compatible server; the key, if it wants one, stands in
    OPENAI_API_KEY), or a registered kind. Options follow a question mark: `tiny?temperature=0.7`; `RequestOptions` has
    those of a server. A line has at most `max_tokens` tokens, at least 1; None for the speaker's own (24, of a server
    128).

    Raises:
        InputError: If there is no such kind of speaker, what the spec names cannot be loaded, or an option is wrong.
    """
    if not isinstance(spec, str):
        return as_speaker(spec)
    spec = spec if spec.partition("?")[0].partition(":")[0] in SPEAKERS else path_spec(spec)
    more: dict[str, Any] = {} if max_tokens is None else {"max_tokens": number("max_tokens", max_tokens, int, ge=1)}
    return as_speaker(SPEAKERS.make(spec, **more))
