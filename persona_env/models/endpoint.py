"""Where a model is served, and how that server wants to be asked."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from persona_env.errors import InputError
from persona_env.models.request_options import RequestOptions

__all__ = ["Endpoint"]

_WANTED = "Expected <model>@<base_url> such as some-model@http://127.0.0.1:8000/v1"
_PROVIDER = "https://api.openai.com/v1"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model and the server that it is asked at; `/chat/completions` is added to `base_url`.

    Without a URL the server is that of OPENAI_BASE_URL, else the provider of OpenAI's own models.

    A URL that is none of http or https, or holds a user, password, query or fragment, is an `InputError`, which does
    not repeat it.

    >>> Endpoint.parse("org/some-model@http://127.0.0.1:8000/v1/")
    Endpoint(model='org/some-model', base_url='http://127.0.0.1:8000/v1')
    """

    model: str
    base_url: str
    options: RequestOptions = field(default=RequestOptions(), repr=False)

    def __post_init__(self) -> None:
        problem = _url_problem(self.base_url)
        if problem:
            raise InputError(f"{_WANTED}, got a base_url {problem}.")
        if not self.model or self.model != self.model.strip() or not self.model.isprintable():
            raise InputError(f"{_WANTED}, got no model that can be named: put its name before the @.")
        object.__setattr__(self, "base_url", self.base_url.rstrip("/"))

    @classmethod
    def parse(cls, rest: str, options: Mapping[str, str] | None = None) -> Endpoint:
        """Returns the endpoint that stands behind `openai:` in a spec, with the options of `RequestOptions` there."""
        match, found = re.search(r"@(?=[A-Za-z][A-Za-z0-9+.-]*://)", rest), RequestOptions.parse(options or {})
        if match is not None:
            return cls(rest[: match.start()], rest[match.end() :], found)
        if re.search(r"@[^@]*[./:]|@localhost", rest):
            raise InputError(f"{_WANTED}, got no http:// or https:// after the @: say how the server is reached.")
        return cls(rest, os.environ.get("OPENAI_BASE_URL", "").strip() or _PROVIDER, found)

    @property
    def identity(self) -> dict[str, Any]:
        """What can change a reply, as plain data; never a key."""
        return {"model": self.model, "base_url": self.base_url, **self.options.identity}

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine."""
        host = urlsplit(self.base_url).hostname or ""
        with contextlib.suppress(ValueError):
            return ip_address(host).is_loopback
        return host == "localhost"

    @property
    def may_get_key(self) -> bool:
        """Whether a key may be sent there: over https, or on this machine."""
        return self.base_url.startswith("https:") or self.is_loopback


def _url_problem(url: str) -> str:
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return "with characters that no URL holds: write it in printable ASCII"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "that is no URL: write its host and port again"
    if parts.scheme not in ("http", "https"):
        return "of another scheme: use http or https"
    if "@" in parts.netloc:
        return "with a user or password in it: leave them out, and put a key into OPENAI_API_KEY"
    if not parts.hostname or port == 0:
        return "without a host or with port 0: name the server"
    return "with a query or a fragment: leave it out" if "?" in url or "#" in url else ""
