"""A verdict as a store keeps it: canonical JSON, with a checksum that covers its key too."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Any, TypeAlias

from persona_env.judges.base import Verdict

__all__ = ["MAX_PAYLOAD", "Row", "carved", "key_bytes", "read_rows", "row_of"]

Row: TypeAlias = tuple[bytes, bytes, bytes]
"""Key (SHA-256), checksum, and the verdict as JSON; in this order, which `carved` relies on."""

MAX_PAYLOAD = 1 << 20
"""Bytes of one verdict; the longest reply that a log may hold is below it."""

_KEY, _CHECK = 32, 16
_LABELS = frozenset(("consistent", "inconsistent", "invalid"))
_OPENING = re.compile(rb'\["(?:in)?(?:consistent|valid)",\[')
_PAGE = 1 << 12
_TEXT = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode
_DECODER = json.JSONDecoder()


def key_bytes(keys: Iterable[str]) -> dict[bytes, str]:
    """Returns keys by the bytes that the store has for them.

    Raises:
        ValueError: If one is not 64 hexadecimal digits.
    """
    names = list(keys)
    try:
        found = {bytes.fromhex(name): name for name in names}
    except (TypeError, ValueError):
        found = {b"": ""}
    if not ({_KEY}.issuperset(map(len, found)) and {2 * _KEY}.issuperset(map(len, names))):
        raise ValueError(f"Expected keys of {2 * _KEY} hexadecimal digits, got {names!r:.80}: use verdict_key.")
    return found


def _check_of(key: bytes, payload: bytes) -> bytes:
    return blake2b(key + payload, digest_size=_CHECK).digest()


def row_of(key: bytes, verdict: Verdict) -> Row:
    """Returns the row of a verdict.

    Raises:
        ValueError: If the verdict is none, or has more than `MAX_PAYLOAD` bytes.
    """
    fields = [verdict.label, list(verdict.conflicts), verdict.reason, verdict.probability, verdict.raw]
    _checked(fields)
    payload = _TEXT(fields).encode("ascii")
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"Expected a verdict of at most {MAX_PAYLOAD} bytes, got {len(payload)}: shorten its reply.")
    return key, _check_of(key, payload), payload


def read_rows(rows: Iterable[tuple[Any, Any, Any]]) -> tuple[dict[bytes, Verdict], list[bytes]]:
    """Returns the verdicts of the rows that are whole, and the keys of those that are not."""
    rows = list(rows)
    try:
        if all(row[1] == _check_of(row[0], row[2]) for row in rows):
            return dict(zip([row[0] for row in rows], _verdicts([row[2] for row in rows]), strict=True)), []
    except (TypeError, ValueError):  # not bytes, or no verdict though the checksum is right: somebody else wrote it
        pass
    return _one_by_one(rows)


def _one_by_one(rows: Sequence[tuple[Any, Any, Any]]) -> tuple[dict[bytes, Verdict], list[bytes]]:
    found, damaged = dict[bytes, Verdict](), list[bytes]()
    for key, check, payload in rows:
        try:
            if not (type(key) is type(payload) is bytes and check == _check_of(key, payload)):
                raise ValueError("damaged")
            (found[key],) = _verdicts([payload])
        except ValueError:
            damaged.append(key if isinstance(key, bytes) else b"")
    return found, damaged


def _verdicts(payloads: Sequence[bytes]) -> list[Verdict]:
    """Decodes many payloads in one go, which costs half of one after the other."""
    try:
        return [_checked(fields) for fields in _DECODER.decode((b"[" + b",".join(payloads) + b"]").decode("ascii"))]
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _checked(fields: Any) -> Verdict:
    """Returns the verdict of these fields.

    Raises:
        ValueError: If they are none.
    """
    try:
        label, conflicts, reason, probability, raw = fields
        is_plain = type(reason) is type(raw) is str and type(conflicts) is list
        is_sure = probability is None or 0.0 <= probability <= 1.0
        if is_plain and is_sure and label in _LABELS and not (conflicts and {int} != set(map(type, conflicts))):
            return Verdict(label, tuple(conflicts), reason, probability, raw)
    except (TypeError, ValueError):
        pass
    raise ValueError(f"Expected a verdict, got {fields!r:.80}: give label, conflicts, reason, probability and raw.")


def carved(data: Any) -> Iterator[Row]:
    """Yields a row wherever the bytes of a file hold a whole one, whatever stands around it.

    Args:
        data: Bytes, or a memory map of the file. A row of more than a page is split up, and not found.
    """
    for match in _OPENING.finditer(data):
        start = match.start()
        head, text = data[max(0, start - _KEY - _CHECK) : start], data[start : start + _PAGE]
        try:
            _, size = _DECODER.raw_decode(text.decode("latin-1"))
        except (ValueError, RecursionError):
            continue
        key, check, payload = head[:_KEY], head[_KEY:], text[:size]
        if check == _check_of(key, payload):
            yield key, check, payload
