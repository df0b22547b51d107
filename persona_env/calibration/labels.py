"""Labelled questions to calibrate a judge with, gathered from several files, one label to a question."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, zip_longest
from pathlib import Path
from statistics import multimode
from typing import Any

from persona_env.calibration import label_file
from persona_env.calibration.label_file import GivenLabel, Labelled, question_fields, read_labels
from persona_env.calibration.label_sources import HUMAN, RECORDED, dnli_labels, log_labels
from persona_env.errors import InputError
from persona_env.io import dialogue_log
from persona_env.io.atomic import json_line
from persona_env.io.dnli import is_dnli
from persona_env.io.json_files import FileError, first_byte, json_lines
from persona_env.judges.base import Query
from persona_env.metrics.agreement import alpha
from persona_env.roles import role_named

__all__ = ["Annotators", "Labelled", "Labels", "Source", "load_labels"]


@dataclass(frozen=True, slots=True)
class Source:
    """A file of labels: who labelled, how it was read, how many there are, and recorded verdicts that are no label."""

    file: str
    what: str
    labels: int
    invalid: int = 0  # or undecided


@dataclass(frozen=True, slots=True)
class Annotators:
    """Krippendorff's alpha, in [-1, 1], of those who labelled the same questions; how many have two labels or more."""

    names: tuple[str, ...]
    questions: int
    alpha: float


@dataclass(frozen=True, slots=True)
class Labels:
    """Labelled questions, each once."""

    items: tuple[Labelled, ...]
    sources: tuple[Source, ...] = ()
    disputed: int = 0  # questions without a label, as half of the votes say the one and half the other
    annotators: Annotators | None = None  # where the same questions were labelled by several
    limit: int | None = None  # how many of each role, kind and label were drawn at most, with `seed`; None for all
    seed: int = 0

    @property
    def digest(self) -> str:
        """SHA-256 of the questions with their labels and persona ids, in any order."""
        lines = (json_line([question_fields(i.question), i.label, i.persona_id]) for i in self.items)
        return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()

    def groups(self) -> dict[tuple[str, str], tuple[Labelled, ...]]:
        """Returns the items by role and kind of question, in order of appearance."""
        found: dict[tuple[str, str], list[Labelled]] = {}
        for item in self.items:
            found.setdefault((item.role, item.kind), []).append(item)
        return {key: tuple(items) for key, items in found.items()}

    def limited(self, limit: int, seed: int) -> Labels:
        """Returns at most `limit` items of each role, kind and label, drawn at random, one of each persona in turn.

        A balanced draw leaves the balanced accuracy what it is; accuracy and kappa depend on the share of each label.
        """
        if limit < 1:
            raise InputError(f"Expected limit >= 1, got {limit}: judge at least one question.")
        rng, drawn = random.Random(seed), list[Labelled]()
        for items in self.groups().values():
            chosen = list[int]()
            for label in ("consistent", "inconsistent"):
                places = [(n, item.persona_id) for n, item in enumerate(items) if item.label == label]
                chosen += _drawn(places, limit, rng)
            drawn += [items[place] for place in sorted(chosen)]
        return replace(self, items=tuple(drawn), limit=limit, seed=seed)

    def check_classes(self) -> None:
        """Raises InputError unless a role and kind has labels of both classes: else no judge can be measured."""
        if not any(len({item.label for item in items}) == 2 for items in self.groups().values()):
            good = sum(item.label == "consistent" for item in self.items)
            raise InputError(
                "Expected labels of both classes for one kind of question, got "
                f"{good} consistent and {len(self.items) - good} inconsistent: add labels of the other class."
            )


def _drawn(places: Sequence[tuple[int, str]], limit: int, rng: random.Random) -> list[int]:
    """Returns at most `limit` places: one of each persona in turn, both in an order drawn at random."""
    of_persona: dict[str, list[int]] = {}
    for place, persona_id in rng.sample(places, len(places)):
        of_persona.setdefault(persona_id, []).append(place)
    rounds = zip_longest(*rng.sample(list(of_persona.values()), len(of_persona)))
    return list(islice((place for turn in rounds for place in turn if place is not None), limit))


def load_labels(paths: Iterable[str | Path], roles: Sequence[str] = ()) -> Labels:
    """Returns the labels of several files about some roles, all where none is named.

    They may be logs (released ones and ours: the recorded verdicts are the labels), Dialogue NLI, or
    labels of our own (see `label_file`). A question that was labelled several times gets the label of
    the majority of its annotators; one who contradicts themselves has no vote, and with a tie there is
    no label.

    Raises:
        InputError: If a role is unknown, a file cannot be read, or nothing is left.
    """
    known = [role_named(role).key for role in roles]
    votes, sources = list[Labelled](), list[Source]()
    for path in paths:
        what, found = _read(path)
        given = list(found)
        read = [vote for vote in given if vote is not None]
        sources.append(Source(Path(path).name, what, len(read), len(given) - len(read)))
        votes += [vote for vote in read if not known or vote.role in known]
    if not votes:
        where = f" about {', '.join(known)}" if known else ""
        raise FileError(f"Expected labels{where}, got none: name other files.")
    return _gathered(votes, tuple(sources))


def _read(path: str | Path) -> tuple[str, Iterator[Labelled | None]]:
    byte = first_byte(path)
    if byte == b"[":
        return f"{RECORDED}, raw replies read by the published fail-open rule", log_labels(path)
    if byte != b"{":
        raise FileError(f"Expected JSON or JSONL at {path} line 1, got {byte.decode('latin-1')!a}: name labels.")
    place, first = next(json_lines(path, dict[str, Any]))
    if is_dnli(first):
        return HUMAN, dnli_labels(path)
    match first.get("format"):
        case label_file.FORMAT:
            return "labels of our own", read_labels(path)
        case dialogue_log.FORMAT:
            return f"{RECORDED}, labels in a log of ours", log_labels(path)
        case other:
            raise FileError(
                f'Expected a log, Dialogue NLI, or labels with "format": "{label_file.FORMAT}" at {place}, '
                f"got {other!r:.40}: name another file."
            )


def _gathered(votes: Sequence[Labelled], sources: tuple[Source, ...]) -> Labels:
    given_by: dict[Query, dict[str, set[GivenLabel]]] = {}
    persona_ids: dict[Query, str] = {}
    for vote in votes:
        given_by.setdefault(vote.question, {}).setdefault(vote.annotator, set()).add(vote.label)
        persona_ids.setdefault(vote.question, vote.persona_id)
    items, shared = list[Labelled](), list[dict[str, GivenLabel]]()
    for question, by_annotator in given_by.items():
        clear: dict[str, GivenLabel] = {who: label for who, (label, *others) in by_annotator.items() if not others}
        most = multimode(clear.values())
        if len(most) == 1:
            items.append(Labelled(question, most[0], persona_ids[question]))
        if len(clear) > 1:
            shared.append(clear)
    if not items:
        raise FileError("Expected labels that a majority agrees on, got none: name other files.")
    annotators = None
    if shared:
        names = sorted({name or "unnamed" for given in shared for name in given})
        annotators = Annotators(tuple(names), len(shared), alpha([tuple(given.values()) for given in shared]))
    return Labels(tuple(items), sources, len(given_by) - len(items), annotators)
