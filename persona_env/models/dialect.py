"""What a server takes: as the spec says, and as it says itself where it refuses something."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from persona_env.errors import InputError
from persona_env.models.chat import ChatRequest
from persona_env.models.endpoint import Endpoint
from persona_env.models.request_options import THOUGHT_TOKENS

__all__ = ["Dialect", "encoded"]

_OPTIONAL = ("temperature", "seed", "response_format", "reasoning_effort", "chat_template_kwargs")
_LIMITS = ("max_tokens", "max_completion_tokens")
_NOT_TAKEN = re.compile(
    r"unsupported|not support|unrecogni|not recogni|unknown|unexpected|extra (input|field)|deprecated|unavailable|"
    r"only the default|may only be|must be 1\b(?!\.[1-9])|"
    r"not (a |an )?(accepted|allowed|available|permitted|valid)|refuse",
    re.I,
)
_SEEDS = (1 << 31) - 1  # so many fit into 32 bits with a sign; a prime, so that all bits of a seed count


class Dialect:
    """Writes requests as one server takes them.

    A field that the server refuses as such is left out from then on, and the reply's bound is given by its other name;
    a model whose thought takes all the room gets more of it. Each is learned once. What a request asks for stays the
    same, and so does the key of its reply.
    """

    def __init__(self, endpoint: Endpoint):
        self._endpoint, options = endpoint, endpoint.options
        self._limit, self._has_switched = options.limit, False
        self._left_out = {"seed"} if options.seed == "none" else set[str]()
        self._room = THOUGHT_TOKENS if options.thinking == "true" else 0

    def fields(self, request: ChatRequest) -> dict[str, Any]:
        """Returns the fields of the HTTP request."""
        fields = request.fields
        fields[self._limit] = fields.pop("max_tokens") + self._room
        if "seed" in fields:
            fields["seed"] %= _SEEDS
        fields |= self._endpoint.options.body
        return {"model": self._endpoint.model} | {k: v for k, v in fields.items() if k not in self._left_out}

    def most_tokens(self, request: ChatRequest) -> int:
        """Returns how many tokens the reply may have."""
        return request.max_tokens + self._room

    def learn(self, fields: Mapping[str, Any], said: str) -> bool:
        """Takes in what a server said of fields that it refused; returns whether the request would look different."""
        other = _LIMITS[1 - _LIMITS.index(self._limit)]
        named = {name for name in (*_LIMITS, *_OPTIONAL) if re.search(rf"\b{name}\b", said)}
        is_refused = other in named or (self._limit in named and _NOT_TAKEN.search(said))
        if self._limit in fields and is_refused and not self._has_switched:
            self._limit, self._has_switched = other, True
        refused = [name for name in _OPTIONAL if name in named and _NOT_TAKEN.search(said)]
        self._left_out.update(refused)
        return self._limit not in fields or any(name in fields for name in refused)

    def make_room(self) -> None:
        """Lets the model think before it answers."""
        self._room = THOUGHT_TOKENS


def encoded(fields: Mapping[str, Any]) -> bytes:
    """Returns the body of an HTTP request; half of a surrogate pair in a text is an `InputError`."""
    try:
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        raise InputError("Expected texts that UTF-8 can hold, got half of a surrogate pair: clean them.") from None
