"""Valid inputs made invalid: bytes, texts and JSON values with a few hostile changes, drawn by hypothesis."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

__all__ = ["HOSTILE_TEXTS", "changed_bytes", "changed_texts"]

_PLACES = 1 << 16
_MARK = "@@hostile@@"

HOSTILE_TEXTS = (
    *("", " ", "\x00", "\ud800", "\ufeff", "\r", "\r\n", "\n", "\u2028", "\x85", "\x1b[31m", "\x9b2J", "\u202e"),
    *("\u200b", "\U0010ffff", "{}", "[/oops]", "%s", "{line}", "{0}", "../../x", "~", "<|im_end|>", "</s>", "{%"),
    *("{{ 7 * 7 }}", "'", '"', "\\", "=", ",", ":", "#", "NaN", "1e999", "-1", "a" * 300, "9" * 5000),
)  # fmt: skip
"""Pieces of text that have broken readers."""

_FRAGMENTS = (
    *(text.encode("utf-8", "surrogatepass") for text in HOSTILE_TEXTS),
    *(b"\xff", b"\xef\xbb\xbf", b"\xc3", b"\\ud800", b"\\u0000", b"-1e999", b"Infinity", b"0x10", b"true", b"null"),
    *(b"{", b"}", b"[", b"]", b'{"a":1,"a":2}', b"[" * 990, b"[" * 100_000, b'{"a":' * 990, b"'''", b'"""', b"\n\n"),
    *(b"1979-05-27", b"nan", b"[a]\n[a]\n", b"a.b.c = 1\n", b"\x1f\x8b", b"\x80\x04."),
)  # fmt: skip

_VALUES = (
    *("1e999", "NaN", "1" * 400, "1" * 5000, "-1", "0", "1.5", "1e308", "true", "null", "{}", "[]", '""', '" "'),
    *('"\\ud800"', '"\\u0000"', '"\\u001b[31m[/oops]"', '"x"', '{"a":1}', '[""]', '"' + "x" * 150_000 + '"'),
    *("[" * depth + "]" * depth for depth in (400, 970, 984, 990, 50_000)),
    *('{"is":"float"}', '{"is":["x"]}', '{"is":"mapping","of":[1]}', '{"is":"array","dtype":"O","of":[]}'),
    *('{"is":"array","dtype":"S900000000","of":[1]}', '{"is":"array","dtype":"int64","of":[[1],[2,3]]}'),
)  # fmt: skip

_KINDS = ("flip", "insert", "replace", "delete", "repeat", "cut", "value", "value", "value", "drop")
_places = st.integers(0, _PLACES - 1)
_steps = st.tuples(st.sampled_from(_KINDS), _places, _places, st.sampled_from(_FRAGMENTS), st.sampled_from(_VALUES))
_changes = st.lists(_steps, min_size=1, max_size=3)


def changed_bytes(samples: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Returns what draws a sample with one to three hostile changes, now and then noise.

    A change flips a byte, puts a fragment somewhere, takes a piece out or repeats it, or cuts the rest off; of what
    is JSON (in lines or not) it may also replace a value somewhere in it, or drop a field.
    """
    mutants = st.builds(_changed, st.sampled_from([*samples]), _changes)
    return st.one_of(mutants, mutants, mutants, mutants, st.binary(max_size=40))


def changed_texts(samples: Sequence[str]) -> st.SearchStrategy[str]:
    """Returns what draws a text with hostile changes, now and then any text, surrogates included."""
    mutants = changed_bytes([sample.encode("utf-8", "surrogatepass") for sample in samples])
    texts = mutants.map(lambda data: data.decode("utf-8", "replace"))
    pieces = st.one_of(st.sampled_from(HOSTILE_TEXTS), st.text(st.characters(codec=None), max_size=8))
    return st.one_of(texts, texts, texts, st.lists(pieces, max_size=5).map("".join))


def _changed(data: bytes, changes: Sequence[tuple[str, int, int, bytes, str]]) -> bytes:
    for kind, where, what, fragment, value in changes:
        if kind in ("value", "drop"):
            data = _changed_json(data, kind, where, what, value)
        else:
            data = _changed_bytes(data, kind, where, what, fragment)
    return data


def _changed_bytes(data: bytes, kind: str, where: int, what: int, fragment: bytes) -> bytes:
    start = where * (len(data) + 1) // _PLACES
    piece, rest = data[start : start + 1 + what % 24], data[start + 1 + what % 24 :]
    match kind:
        case "flip":
            piece = bytes(byte ^ (1 << what % 8) for byte in piece[:1]) + piece[1:]
        case "insert":
            piece = fragment + piece
        case "repeat":
            piece *= 2 + what % 7
        case "cut":
            piece = rest = b""
        case _:
            piece = fragment if kind == "replace" else b""
    return data[:start] + piece + rest


def _changed_json(data: bytes, kind: str, where: int, what: int, value: str) -> bytes:
    """Changes a value on one line of JSON, or in all of the data; what is no JSON is left as it is."""
    lines = data.split(b"\n") if data.count(b"\n") > 1 else [data]
    place = what % len(lines)
    try:
        holder: Any = {"": json.loads(lines[place])}
    except (ValueError, RecursionError):
        return data
    spots = [*_spots(holder)]
    parent, key = spots[where % len(spots)]
    if kind == "drop" and parent is not holder:
        del parent[key]
    else:
        parent[key] = _MARK
    text = json.dumps(holder[""], ensure_ascii=False)
    lines[place] = text.replace(json.dumps(_MARK), value, 1).encode("utf-8", "surrogatepass")
    return b"\n".join(lines)


def _spots(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yields every place in a JSON value: what holds it, and its key there."""
    holders = [value]
    while holders:
        holder = holders.pop()
        for key in holder if isinstance(holder, dict) else range(len(holder)):
            yield holder, key
            if isinstance(holder[key], dict | list):
                holders.append(holder[key])
