"""What a server says where it gives no reply: its own words, short and printable, and the fault that they mean."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from persona_env.errors import printable
from persona_env.models.chat import FILTER
from persona_env.models.faults import BadReply, Filtered, Overloaded, Refused, RemoteFault, ServerError

__all__ = ["Refusal"]

_MOST_SHOWN = 300  # characters of what a server says
_PART = 8  # characters of a secret in a row that are not shown
_FILTER_SAID = re.compile(r"content (filter|polic|management|moderation)|flagged|requires moderation", re.I)
_REFUSES = re.compile(r"invalid_?request|bad_?request|not_?found|unsupported|context_length", re.I)
_SPENT = re.compile(r"insufficient_quota|insufficient.{0,9}(balance|credit)|billing", re.I)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error as a server sent it: with a status of its own, or inside of a reply of the status 200."""

    status: int
    said: str = ""  # what is shown: one line
    codes: str = ""  # names and numbers of the error, for programs

    @classmethod
    def read(cls, status: int, body: bytes, secrets: tuple[str, ...]) -> Refusal | None:
        """Returns the error in a body, None where there is none; `secrets` never stand in what it says."""
        try:
            found: Any = json.loads(body)
        except (ValueError, RecursionError):
            found = None if body.lstrip()[:1] in (b"<", b"[", b"{") else body.decode("utf-8", "replace")
        found = found[0] if isinstance(found, list) and len(found) == 1 else found
        is_error = status != 200 or (isinstance(found, dict) and found.get("object") == "error")
        error = found.get("error") or (found if is_error else None) if isinstance(found, dict) else found
        if status == 200 and not (isinstance(found, dict) and error):
            return None
        table = error if isinstance(error, dict) else {}
        inner = table.get("innererror")
        named = [table.get(name) for name in ("code", "type", "status")]
        named += [inner.get("code")] if isinstance(inner, dict) else []
        codes = " ".join(str(one) for one in named if isinstance(one, str | int))[:_MOST_SHOWN]
        if status == 200:
            number = re.search(r"\b4[0-9]{2}\b", codes)
            status = int(number[0]) if number else 400 if _REFUSES.search(codes) else 0
        said = " ".join(" ".join(_words(error)).split())
        return cls(status, _shown(said, secrets), codes)

    @property
    def is_filter(self) -> bool:
        """Whether a content filter refused this request."""
        is_about_request = self.status < 500 and self.status not in (401, 408, 425, 429)
        return is_about_request and bool(FILTER.search(self.codes) or _FILTER_SAID.search(self.said))

    @property
    def is_for_good(self) -> bool:
        """Whether no request will be answered until somebody pays."""
        return self.status == 402 or (self.status == 429 and _SPENT.search(self.codes) is not None)

    def fault(self, wait: float | None = None) -> RemoteFault:
        """Returns the fault of one request; `wait` is what Retry-After says."""
        status = self.status
        if self.is_filter:
            return Filtered("a content filter refused the request")
        if status in (429, 529) or (status == 503 and wait is not None):
            return Overloaded(f"the server asked for fewer requests (status {status})", wait)
        if status >= 500 or status in (408, 425):
            return ServerError(status)
        if status < 300:
            what = f"an error: {self.said}" if status == 0 else f"of the status {status} instead of 200"
            return BadReply(f"the reply is {what}")
        return Refused(
            f"the request was {'redirected' if status < 400 else 'refused'} (status {status})", status, self.said
        )


def _words(error: Any, depth: int = 0) -> Iterator[str]:
    """Yields what an error says, and the fields that it is about."""
    if isinstance(error, str):
        yield error
    elif isinstance(error, list) and depth < 4:
        for one in error[:8]:
            yield from _words(one, depth + 1)
    elif isinstance(error, dict) and depth < 4:
        place = error.get("loc") if isinstance(error.get("loc"), list) else [error.get("param")]
        for name in ("message", "msg", "detail", "error", "errors"):
            yield from _words(error.get(name), depth + 1)
        about = [str(part) for part in place or () if isinstance(part, str)]
        yield f"({'.'.join(about)})" if about else ""


def _shown(text: str, secrets: tuple[str, ...]) -> str:
    """Returns a text as it is shown; "" where it holds a part of a secret."""
    parts = (secret[i : i + _PART] for secret in secrets for i in range(max(len(secret) - _PART + 1, 1)))
    if any(part.casefold() in text.casefold() for part in parts):
        return ""
    return printable(text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}...")
