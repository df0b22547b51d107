"""R12: whatever can change a verdict is part of its key."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_args
from unittest import mock

from persona_env import roles
from persona_env.judges import AnswerVsGold, LineVsHistory, LineVsPersona, LineVsPrevious, Query, load_judge
from persona_env.judges.prompts import JudgePrompts
from persona_env.models.reply_cache import reply_key
from persona_env.persona import Fact, Persona, QAItem
from persona_env.roles import BUNDLED
from tests.reliability.demands import Measured, demand

_ITEM = QAItem("Four hours", ("How long do you sleep?", "Long?"), ("And at night?",), ("Four", "Eight"), "sleep")
_ANN = Persona(
    *("p1", "patient", "Ann", "You are Ann. You sleep four hours."),
    facts=(Fact("sleep", "four", "You sleep four hours."), Fact("name", "Ann", "You are Ann.")),
    hidden=("city", "job"),
    questions=(_ITEM, replace(_ITEM, gold="Ann")),
    scene="It rains.",
)
QUESTIONS: tuple[Query, ...] = (
    LineVsPersona(_ANN, "I sleep well.", "How do you sleep?"),
    LineVsHistory("patient", "I sleep well.", ("I never sleep.", "I bake.")),
    AnswerVsGold("patient", "How long?", "Four hours", "Four.", ("Four", "Eight")),
    LineVsPrevious(_ANN, "How do you sleep?", "I sleep well."),
)
IDENTITY: Mapping[str, Any] = {
    **{"kind": "llm", "model": "big-1", "base_url": "http://127.0.0.1:8000/v1", "schema": 1, "temperature": 0.0},
    **{"prompts": {"patient": "9a1f", "student": "77e0", "chat_partner": "02bc"}, "max_tokens": 200, "seed": None},
    "members": ["a", "b"],
}
_OTHERS: tuple[Any, ...] = ("", "x", None, True, 0, 1, -1, 0.0, 0.5, [], ["a"], {}, {"a": 1})


def other_texts(text: str) -> Iterator[str]:
    """Yields texts that a careless key might take for the same."""
    yield from {f"{text} ", f" {text}", f"{text}\n", f"{text}.", text.upper(), text[:-1], f"{text}\u200b", ""} - {text}


def others(value: Any, name: str = "") -> Iterator[Any]:
    """Yields values that differ from one in one place, however deep it stands."""
    yield from (other for other in _others(value, name) if other != value)


def _others(value: Any, name: str) -> Iterator[Any]:
    if name == "role":
        yield from BUNDLED
    elif isinstance(value, str):
        yield from other_texts(value)
    elif isinstance(value, tuple):
        yield from ((*value, value[0]), value[1:], value[::-1])
        for place, item in enumerate(value):
            yield from ((*value[:place], other, *value[place + 1 :]) for other in others(item))
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            for other in others(getattr(value, field.name), field.name):
                try:
                    yield replace(value, **{field.name: other})
                except ValueError:  # there cannot be such a persona or item
                    continue


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


def other_prompts(prompts: Path, folder: Path) -> Iterator[JudgePrompts]:
    """Yields judge prompts that differ from ours in one line of one text of one role."""
    folder.mkdir()
    for file in prompts.glob("*/judge.toml"):
        shutil.copy(file, folder / f"{file.parent.name}.toml")
    for file in sorted(folder.glob("*.toml")):
        text = file.read_text(encoding="utf-8")
        lines, is_inside = text.split("\n"), False
        for place, line in enumerate(lines):
            if '"""' in line:
                is_inside = not is_inside
            elif is_inside and line.strip():
                file.write_text("\n".join([*lines[:place], f"{line} !", *lines[place + 1 :]]), encoding="utf-8")
                yield JudgePrompts.load(folder)
        file.write_text(text, encoding="utf-8")


def key(identity: Mapping[str, Any], query: Query, prompts: JudgePrompts | None = None) -> bytes:
    """Returns the key of the reply to the first prompt of a query."""
    prompt = (prompts or JudgePrompts.load()).both(query)[0]
    return reply_key(identity, {"system": prompt.system, "user": prompt.user})


def mutations() -> Iterator[tuple[bytes, bytes]]:
    """Yields the key before and after each mutation of an identity or of a judge prompt."""
    for identity in (IDENTITY, load_judge("oracle").identity):
        for other in other_identities(identity):
            yield key(identity, QUESTIONS[0]), key(other, QUESTIONS[0])
    with tempfile.TemporaryDirectory() as folder:
        digest = JudgePrompts.load().digest.encode()
        for prompts in other_prompts(Path(roles.__file__).parent, Path(folder) / "prompts"):
            yield digest, prompts.digest.encode()
    with mock.patch("persona_env.models.reply_cache.KEY_FORMAT", "persona-env/reply-2"):
        after = key(IDENTITY, QUESTIONS[0])
    yield key(IDENTITY, QUESTIONS[0]), after
    yield from itertools.combinations([key(IDENTITY, question) for question in QUESTIONS], 2)


def untouched() -> list[str]:
    """Returns the fields of questions, personas, facts and Q&A items that no mutation has changed."""
    kinds = (*get_args(Query), Persona, Fact, QAItem)
    asked = {type(question) for question in QUESTIONS}
    missing = [kind.__name__ for kind in get_args(Query) if kind not in asked]
    samples: Sequence[Any] = (*QUESTIONS, _ANN, _ANN.facts[0], _ITEM)
    for kind, sample in itertools.product(kinds, samples):
        if type(sample) is kind:
            seen = {
                f.name for f in fields(kind) for o in others(sample) if getattr(o, f.name) != getattr(sample, f.name)
            }
            missing += [f"{kind.__name__}.{f.name}" for f in fields(kind) if f.name not in seen]
    return missing


_PAIRS = list(mutations())


@demand("R12", f"{len(_PAIRS)} mutations: each entry of an identity, line of a judge prompt", "100 % noticed")
def cache_key() -> Measured:
    """Compares the keys before and after each mutation."""
    noticed, missing = sum(before != after for before, after in _PAIRS), untouched()
    told = f", untouched: {', '.join(missing)}" if missing else ", no field left out"
    return noticed == len(_PAIRS) and not missing, f"{noticed} noticed{told}"
