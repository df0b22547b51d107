"""R12: whatever can change a reply is part of its key."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any
from unittest import mock

from persona_env.judges import load_judge
from persona_env.models.chat import ChatRequest
from persona_env.models.limits import ModelResources
from persona_env.models.reply_cache import ReplyCache, reply_key
from tests.models.asked import client
from tests.models.fault_server import FaultServer
from tests.reliability.demands import Measured, demand

REQUEST = ChatRequest((("system", "You are Ann."), ("user", "How do you sleep?")), 8, 0.5, 3, {"type": "object"})
IDENTITY: Mapping[str, Any] = {
    **{"backend": "label_prob", "model": "big-1", "dtype": "float32", "schema": 1, "temperature": 0.0},
    **{"prompts": {"patient": "9a1f", "student": "77e0", "chat_partner": "02bc"}, "max_tokens": 200, "seed": None},
    "members": ["a", "b"],
}
_OTHERS: tuple[Any, ...] = ("", "x", None, True, 0, 1, -1, 0.0, 0.5, [], ["a"], {}, {"a": 1})


def other_texts(text: str) -> Iterator[str]:
    """Yields texts that a careless key might take for the same."""
    yield from {f"{text} ", f" {text}", f"{text}\n", f"{text}.", text.upper(), text[:-1], f"{text}\u200b", ""} - {text}


def other_requests() -> list[ChatRequest]:
    """Returns requests that differ from one in one place of one field."""
    (system, user), first = REQUEST.messages, REQUEST.messages[0][1]
    messages = [((role, text), user) for role, text in [("user", first), *(("system", t) for t in other_texts(first))]]
    values: dict[str, list[Any]] = {
        "messages": [*messages, (user, system), (system,), (system, user, user)],
        "max_tokens": [9, 80],
        "temperature": [None, 0.0, 0.05, 1.0],
        "seed": [None, 0, 4],
        "schema": [None, {}, {"type": "array"}, {"type": "object", "required": []}],
    }
    assert values.keys() == {field.name for field in fields(ChatRequest)} - {"accept"}
    return [replace(REQUEST, **{name: value}) for name, others in values.items() for value in others]


def other_identities(identity: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yields identities that differ from one in one entry, however deep it stands."""
    yield {**identity, "another": None}
    for name, value in identity.items():
        yield {key: kept for key, kept in identity.items() if key != name}
        yield from ({**identity, name: other} for other in _OTHERS if (type(other), other) != (type(value), value))
        if isinstance(value, str):
            yield from ({**identity, name: other} for other in other_texts(value))
        if isinstance(value, Mapping):
            yield from ({**identity, name: other} for other in other_identities(value))


def asked_anew(path: Path) -> tuple[int, int]:
    """Returns how many requests and endpoints are mutated, and how many of those a client with one cache asks."""
    requests = [REQUEST, *other_requests()]
    with ReplyCache(path) as cache, FaultServer() as server, FaultServer() as elsewhere:
        for asked_at, model in ((server, "some-model"), (elsewhere, "some-model"), (server, "another-model")):
            with client(asked_at) as asked:
                asked.endpoint = replace(asked.endpoint, model=model)
                asked.use(ModelResources((cache,)))
                asked.complete(requests)
                asked.complete(requests)
        return 3 * len(requests), len(server.calls) + len(elsewhere.calls)


@demand(
    "R12",
    "mutations of each field of a request, its model and server, and a local judge's identity",
    "100 % noticed",
)
def cache_key() -> Measured:
    keys = list[tuple[bytes, bytes]]()
    for identity in (IDENTITY, load_judge("oracle").identity):
        keys += [(reply_key(identity, {}), reply_key(other, {})) for other in other_identities(identity)]
    with mock.patch("persona_env.models.reply_cache.KEY_FORMAT", "another format"):
        raised = reply_key(IDENTITY, {})
    keys.append((reply_key(IDENTITY, {}), raised))
    with tempfile.TemporaryDirectory() as name:
        mutated, asked = asked_anew(Path(name) / "replies.sqlite")
    noticed = sum(before != after for before, after in keys)
    return noticed == len(keys) and mutated == asked, f"{noticed} of {len(keys)} keys, {asked} of {mutated} requests"
