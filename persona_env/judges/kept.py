"""A judge that asks only what a store does not know yet."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from functools import cache
from hashlib import sha256
from itertools import islice
from json.encoder import encode_basestring_ascii as quoted
from operator import attrgetter
from typing import Any

from persona_env.errors import InputError
from persona_env.judges.around import Around
from persona_env.judges.base import Judge, Query, Verdict
from persona_env.judges.store import VerdictStore
from persona_env.persona import Persona

__all__ = ["KEY_FORMAT", "KeptJudge", "verdict_key", "verdict_keys"]

KEY_FORMAT = "persona-env/verdict-1"
"""Part of every key; another one where the same question or the same verdict come to mean something else."""


class KeptJudge(Around):
    """Gives the verdicts that a store has, asks the judge for the others, and keeps those first.

    Each distinct question is asked once, even if it stands in a call several times. The judge is asked
    `chunk` questions at a time, and its verdicts are on disk before they are handed on: what ends a run
    (a kill, an outage, a spent budget) costs at most the chunk that was being asked. Where an exception
    of the judge brings verdicts along (`answered`, by place in the chunk), these are kept as well.

    Args:
        judge: With an `identity`: a JSON-able mapping of everything that can change its verdicts.
        store: Where verdicts are kept.
        keep_invalid: Keep replies that could not be read as well (a run's own journal); in a shared
            store they would stop everybody from asking again. What is `lost` is never kept.
        chunk: Questions in one call of the judge: a few times what a server is asked at once, so that its
            queue seldom runs dry, and little is lost.

    Attributes:
        hits: Questions that cost no asking: kept before, or the same as another of the call.
        misses: Questions that the judge has answered.

    Raises:
        ValueError: If the judge has no identity, or `chunk` is below 1.

    >>> import tempfile
    >>> from persona_env.judges import LineVsHistory, load_judge
    >>> class Exact:
    ...     identity, judge = {"kind": "oracle"}, load_judge("oracle").judge
    >>> with tempfile.TemporaryDirectory() as folder, VerdictStore(f"{folder}/verdicts.db") as store:
    ...     judge = KeptJudge(Exact(), store)
    ...     asked = [LineVsHistory("patient", "Pretty sad.", ("Pretty numb.",))] * 3
    ...     labels = [verdict.label for verdict in judge.judge(asked) + judge.judge(asked)]
    ...     set(labels), judge.hits, judge.misses
    ({'inconsistent'}, 5, 1)
    """

    def __init__(self, judge: Judge, store: VerdictStore, *, keep_invalid: bool = False, chunk: int = 256) -> None:
        if not isinstance(getattr(judge, "identity", None), Mapping):
            raise InputError(f"Expected a judge with an identity, got {judge!r:.80}: without one, its verdicts cannot "
                             "be told from another judge's.")  # fmt: skip
        if chunk < 1:
            raise InputError(f"Expected chunk >= 1, got {chunk}: ask at least one question at a time.")
        super().__init__(judge)
        self.store, self.keep_invalid, self.chunk = store, keep_invalid, chunk
        self.hits = self.misses = 0
        _digest(self.identity)  # raises now if it is not plain data

    def judge(self, questions: Sequence[Query]) -> list[Verdict]:
        """Returns the verdicts, in order.

        Raises:
            StoreError: If the store cannot be read or written.
            ValueError: If the judge gives another number of verdicts than it was asked for.
        """
        keys = verdict_keys(self.identity, questions)
        distinct = dict(zip(keys, questions, strict=True))
        known = self.store.get_many(distinct)
        missing, found = iter([key for key in distinct if key not in known]), len(known)
        try:
            while chunk := list(islice(missing, self.chunk)):
                self._ask(chunk, [distinct[key] for key in chunk], known)
        finally:
            self.misses += len(known) - found
            self.hits += sum(map(known.__contains__, keys)) - (len(known) - found)
        return [known[key] for key in keys]

    def _ask(self, keys: Sequence[str], questions: Sequence[Query], known: dict[str, Verdict]) -> None:
        """Adds to `known` what the judge says, once it is kept, even where the judge gave up halfway."""
        try:
            verdicts = self.wrapped.judge(questions)
        except Exception as error:
            answered: Mapping[int, Verdict] = getattr(error, "answered", None) or {}
            known |= self._kept({keys[place]: verdict for place, verdict in answered.items()})
            raise
        if len(verdicts) != len(questions):
            raise InputError(
                f"Expected {len(questions)} verdicts, got {len(verdicts)}: a judge answers each question, in order."
            )
        known |= self._kept(dict(zip(keys, verdicts, strict=True)))

    def _kept(self, given: dict[str, Verdict]) -> dict[str, Verdict]:
        """Keeps verdicts and returns them; where somebody else gave one in the meantime, theirs."""
        kept = {key: verdict for key, verdict in given.items() if self._is_kept(verdict)}
        return given | self.store.put_many(kept)

    def _is_kept(self, verdict: Verdict) -> bool:
        return verdict.label != "invalid" or (self.keep_invalid and not verdict.lost)

    def __repr__(self) -> str:
        return f"KeptJudge({self.wrapped!r}, {self.store!r})"


def verdict_key(identity: Mapping[str, Any], question: Query) -> str:
    """Returns under which key a verdict is kept: SHA-256 of who is asked and of the whole question.

    Everything that the judge is handed is in it: every field of the question and of its persona.

    Args:
        identity: The judge's, plain data.
        question: What is asked.

    Raises:
        ValueError: If the identity is not plain data.
    """
    return verdict_keys(identity, [question])[0]


def verdict_keys(identity: Mapping[str, Any], questions: Sequence[Query]) -> list[str]:
    """Returns the key of each question; each persona is read once."""
    start = f'["{KEY_FORMAT}","{_digest(identity)}",'
    people: dict[int, str] = {}  # by place in memory: the questions hold them as long as this runs
    return [sha256(f"{start}{_question_json(q, people)}]".encode("ascii")).hexdigest() for q in questions]


def _question_json(question: Query, people: dict[int, str]) -> str:
    """Returns kind and fields as canonical JSON, with the digest of a persona in its place."""
    form, values = _shape(type(question))
    written = [
        quoted(value) if type(value) is str else people.get(id(value)) or _value_json(value, people)
        for value in values(question)
    ]
    return form % tuple(written)


@cache
def _shape(kind: type[Query]) -> tuple[str, Callable[[Query], tuple[object, ...]]]:
    """Returns the JSON of a kind with a place for each field, and what reads the fields in that order."""
    names = sorted(field.name for field in fields(kind))
    places = ",".join(f'"{name}":%s' for name in names)
    read = attrgetter(*names)
    return f'"{kind.__name__}",{{{places}}}', read if len(names) > 1 else lambda question: (read(question),)


def _value_json(value: object, people: dict[int, str]) -> str:
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, Persona):
        people[id(value)] = f'"{_digest(asdict(value))}"'
        return people[id(value)]
    if isinstance(value, tuple):
        return f"[{','.join([quoted(text) for text in value])}]"
    raise InputError(f"Expected a text, texts or a persona in a question, got {value!r:.80}: give one of these.")


def _digest(value: Mapping[str, Any]) -> str:
    text = json.dumps(_plain(value), sort_keys=True, allow_nan=False, separators=(",", ":"))
    return sha256(text.encode("ascii")).hexdigest()


def _plain(value: Any) -> Any:
    """Returns JSON data; raises where JSON would make two different values the same text."""
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(item) for key, item in value.items()}
    raise InputError(f"Expected plain data (texts, numbers, lists, mappings of texts), got {value!r:.80}: convert it.")
