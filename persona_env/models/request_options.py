"""How an OpenAI-compatible server wants to be asked: the options of `openai:` specs, for judges and speakers alike."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any

from persona_env.errors import InputError, shown
from persona_env.registry import SEPARATOR
from persona_env.settings import Setting, check, from_text, number

__all__ = ["THOUGHT_TOKENS", "RequestOptions", "api_key", "sampling_temperature"]

THOUGHT_TOKENS = 4096
"""Tokens that a model which thinks may spend before its line or answer; they come on top of `max_tokens`."""

_CHANGE_NO_REPLY = ("key_env", "timeout")
_OURS = ("messages", "model", "n", "stream")
_ENV = "env:"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADER = re.compile(r"(?!(?:connection|content-.*|host|transfer-encoding)$)[\w!#$%&'*+.^`|~-]+", re.A | re.I)
_SECRET_NAME = re.compile(r"auth|cookie|credential|key|passw|secret|token", re.I)
_SECRET_FIELD = re.compile(r"api_?key|authorization|credential|passw|secret|(access|auth)_?token", re.I)
_SECRET_VALUE = re.compile(r"(bearer|basic)\s|sk-|(?=[^0-9]*[0-9])(?=[^a-z]*[a-z])[\w+/=.~-]{32,}$", re.I)


def _several(text: str) -> tuple[str, ...]:
    return tuple(text.split(SEPARATOR))


@dataclass(frozen=True, kw_only=True)
class RequestOptions:
    """How requests to a server look and what stands in their headers; never a key, only where to find it.

    >>> RequestOptions.parse({"limit": "max_completion_tokens", "header": "X-Team:speech"}).identity
    {'limit': 'max_completion_tokens', 'header': ['X-Team:speech']}
    """

    limit: Annotated[
        str, Setting("The field that bounds a reply.", choices=("max_tokens", "max_completion_tokens"))
    ] = "max_tokens"
    seed: Annotated[str, Setting("Whether a seed of 32 bits is sent.", choices=("32", "none"))] = "32"
    thinking: Annotated[str, Setting("Whether the model is asked to think.", choices=("default", "true", "false"))] = (
        "default"
    )
    stop: Annotated[tuple[str, ...], Setting("A text that ends a reply.", parse=_several)] = ()
    extra_body: Annotated[str, Setting("More fields of each request, as a JSON object.")] = ""
    header: Annotated[
        tuple[str, ...], Setting("Name:value, Name:env:VARIABLE, or Name for the key.", parse=_several)
    ] = ()
    query: Annotated[tuple[str, ...], Setting("name=value or name=env:VARIABLE.", parse=_several)] = ()
    key_env: Annotated[str, Setting("The environment variable that holds the key.")] = "OPENAI_API_KEY"
    timeout: Annotated[float, Setting("Seconds for one request.", gt=0)] = 600.0

    def __post_init__(self) -> None:
        check(self)
        if not _VARIABLE.fullmatch(self.key_env):
            raise InputError(
                "Expected the name of an environment variable as key_env, got another text: export the key."
            )
        for name, value in _pairs(self.header, ":"):
            _check_pair("header", name, value, _HEADER.fullmatch(name) is not None)
        for name, value in _pairs(self.query, "="):
            _check_pair("query", name, value, bool(name) and value is not None)
        _check_no_secret(self._extra)

    @classmethod
    def parse(cls, options: Mapping[str, str]) -> RequestOptions:
        """Returns the options of a spec; one that there is not, or with a value it cannot have, is an `InputError`."""
        return cls(**{name: from_text(cls, name, text) for name, text in options.items()})

    @property
    def identity(self) -> dict[str, Any]:
        """The options that can change a reply and are not the usual ones, as plain data."""
        found = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in _CHANGE_NO_REPLY}
        usual = {field.name: field.default for field in fields(self)}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in found.items() if v != usual[name]}

    @property
    def body(self) -> dict[str, Any]:
        """The fields that are added to each request."""
        added: dict[str, Any] = {"stop": list(self.stop)} if self.stop else {}
        if self.thinking != "default":
            thinks = self.thinking == "true"
            added["chat_template_kwargs"] = {"enable_thinking": thinks, "thinking": thinks}
        if self.thinking == "false":
            added["reasoning_effort"] = "none"
        return added | self._extra

    def headers(self) -> Iterator[tuple[str, str, bool]]:
        """Yields name, value and whether the value is secret, the key's header included; reads the environment."""
        key, pairs = api_key(self.key_env), _pairs(self.header, ":")
        for name, value in pairs:
            yield name, key if value is None else _resolved(value), value is None or value.startswith(_ENV)
        if key and all(value is not None for _, value in pairs):
            yield "Authorization", f"Bearer {key}", True

    def parameters(self) -> Iterator[tuple[str, str, bool]]:
        """Yields name, value and whether it is secret, of the query; reads the environment."""
        for name, value in _pairs(self.query, "="):
            yield name, _resolved(value or ""), (value or "").startswith(_ENV)

    @property
    def _extra(self) -> dict[str, Any]:
        try:
            found: Any = json.loads(self.extra_body) if self.extra_body else {}
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict) or any(name in found for name in _OURS):
            raise InputError(
                f'Expected a JSON object such as {{"top_k": 1}} without {", ".join(_OURS)} as extra_body, got another: '
                "correct it."
            )
        return found


def api_key(variable: str = "OPENAI_API_KEY") -> str:
    """Returns the key in a variable, "" if there is none; one that cannot stand in a header is an `InputError`."""
    key = os.environ.get(variable, "").strip()
    if key and not re.fullmatch(r"[!-~]+", key):
        raise InputError(f"Expected {variable} of printable ASCII without blanks, got others: copy it again.")
    if not key and variable != "OPENAI_API_KEY":
        raise InputError(f"Expected a key or secret in the variable {variable}, got none: export it.")
    return key


def sampling_temperature(given: float | str | None) -> float | None:
    """Returns the temperature of a spec; None, spelled `none`, leaves it to the server."""
    return None if given is None or given == "none" else number("temperature", given, float, ge=0)


def _pairs(texts: tuple[str, ...], mark: str) -> list[tuple[str, str | None]]:
    parts = [text.partition(mark) for text in texts]
    return [(name.strip(), value.strip() if found else None) for name, found, value in parts]


def _resolved(value: str) -> str:
    return api_key(value.removeprefix(_ENV)) if value.startswith(_ENV) else value


def _check_pair(option: str, name: str, value: str | None, is_sound: bool) -> None:
    """Refuses a header or parameter that cannot be sent, or that holds a secret; repeats no value."""
    wanted = {"header": "header=X-Team:speech", "query": "query=api-version=2024-10-21"}[option]
    if not is_sound or not (value is None or re.fullmatch(r"[ -~]+", value)):
        raise InputError(f"Expected {option} such as {wanted}, got another text: give a name and a value in ASCII.")
    if value is None or (value.startswith(_ENV) and _VARIABLE.fullmatch(value.removeprefix(_ENV))):
        return
    if value.startswith(_ENV) or _SECRET_NAME.search(name) or _SECRET_VALUE.match(value):
        mark = ":" if option == "header" else "="
        raise InputError(
            f"Expected {option} {shown(name)} without a secret in it, got what looks like one: export it and write "
            f"{option}={name}{mark}{_ENV}VARIABLE."
        )


def _check_no_secret(value: Any, name: str = "") -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_no_secret(inner, key)
    elif isinstance(value, list):
        for inner in value:
            _check_no_secret(inner, name)
    elif isinstance(value, str) and value and (_SECRET_FIELD.search(name) or _SECRET_VALUE.match(value)):
        raise InputError(
            f"Expected extra_body without a secret in it, got what looks like one ({shown(name)}): export it and write "
            f"header=Name:{_ENV}VARIABLE."
        )
