"""What a chat model is asked and what it replies."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from persona_env.errors import InputError

__all__ = ["ChatReply", "ChatRequest"]

_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One chat that a model is to go on with.

    Attributes:
        messages: (role, text), oldest first; roles are `system`, `user` and `assistant`.
        max_tokens: The most tokens of the reply.
        temperature: 0 asks for the likeliest token. No server promises to give the same twice.
        seed: The randomness that is asked for, >= 0; None leaves it to the server.
        schema: A JSON schema that the reply is to keep. A server may ignore it: look at the reply.

    Raises:
        InputError: If it cannot be asked.
    """

    messages: tuple[tuple[str, str], ...]
    max_tokens: int
    temperature: float = 0.0
    seed: int | None = None
    schema: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not self.messages or any(role not in _ROLES for role, _ in self.messages):
            raise InputError(f"Expected messages with roles {', '.join(_ROLES)}, got none or others: name these.")
        if self.max_tokens < 1 or not 0 <= self.temperature < math.inf or (self.seed is not None and self.seed < 0):
            raise InputError(
                f"Expected max_tokens >= 1 and temperature and seed >= 0, got {self.max_tokens}, {self.temperature} "
                f"and {self.seed}: correct them."
            )

    @property
    def characters(self) -> int:
        """How long the prompt is: the characters of all its messages."""
        return sum(len(text) for _, text in self.messages)

    @property
    def fields(self) -> dict[str, Any]:
        """All that is asked, as the fields of the HTTP request; the model is not among them."""
        fields: dict[str, Any] = {
            "messages": [{"role": role, "content": text} for role, text in self.messages],
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "stream": False,
        }
        if self.seed is not None:
            fields["seed"] = self.seed
        if self.schema is not None:
            form = {"name": "reply", "schema": dict(self.schema), "strict": True}
            fields["response_format"] = {"type": "json_schema", "json_schema": form}
        return fields

    def body(self, model: str) -> bytes:
        """Returns the body of the HTTP request.

        Raises:
            InputError: If a text holds half of a surrogate pair.
        """
        fields = {"model": model, **self.fields}
        try:
            return json.dumps(fields, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        except UnicodeEncodeError:
            raise InputError("Expected texts that UTF-8 can hold, got half of a surrogate pair: clean them.") from None


@dataclass(frozen=True, slots=True)
class ChatReply:
    """What a model replied.

    Attributes:
        text: Never blank.
        finish_reason: `stop`, or `length` where it was cut at `max_tokens`.
        prompt_tokens: As the server counts them; where it does not, one for every 4 bytes.
        completion_tokens: Likewise.
    """

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
