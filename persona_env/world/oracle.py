"""The exact judge of the embedded world: it parses lines with the grammar that generated them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256

from persona_env.judges.base import AnswerVsGold, Judge, LineVsHistory, LineVsPersona, LineVsPrevious, Query, Verdict
from persona_env.world.lexicon import ATTRIBUTES, WORDS
from persona_env.world.reading import Reading, listed_facts, read_asked, read_facts, read_line

__all__ = ["OracleJudge"]

_CONSISTENT = Verdict("consistent")
_CACHE = 1 << 16
_RULES = 1  # part of the identity: another one where a rule below changes
_UNKNOWN_PERSONA = "the persona states no fact of the embedded world"


def _inconsistent(reason: str, conflicts: tuple[int, ...] = ()) -> Verdict:
    return Verdict("inconsistent", conflicts, reason)


def _invalid(reason: str) -> Verdict:
    return Verdict("invalid", (), reason)


@lru_cache(1)
def _world_digest() -> str:
    known = sorted((role, sorted(attributes.items())) for role, attributes in ATTRIBUTES.items())
    words = repr((known, {role: its.drift_lines for role, its in WORDS.roles.items()}, WORDS.hedges))
    marked = repr((sorted(WORDS.markers), sorted((role, sorted(its.denied)) for role, its in WORDS.roles.items())))
    return sha256(f"{_RULES}{words}{marked}".encode()).hexdigest()


@lru_cache(_CACHE)
def _facts(description: str, role: str) -> Mapping[str, str]:
    """What a description states about the role's attributes."""
    known = ATTRIBUTES.get(role, {})
    return {key: value for key, value in listed_facts(description).items() if key in known}


def _line_vs_persona(query: LineVsPersona) -> Verdict:
    role = query.persona.role
    facts = _facts(query.persona.description, role)
    if not facts:
        return _invalid(_UNKNOWN_PERSONA)
    reading = read_line(query.line, role)
    if reading.wordless:
        return _inconsistent("says nothing")
    if reading.left_role:
        return _inconsistent("left the role")
    for key, value in reading.facts:
        if key not in ATTRIBUTES[role]:
            return _inconsistent(f"speaks of {key}, which another role has")
        if facts.get(key, value) != value:
            return _inconsistent(f"says {key} is {value}, the persona says {facts[key]}")
    return _CONSISTENT


def _denies(marker: Reading, other: Reading, role: str) -> bool:
    """Whether the first line leaves the role and the second, in the role, states what that denies."""
    return marker.left_role and not other.left_role and any(key in WORDS.roles[role].denied for key, _ in other.facts)


def _other_values(one: Reading, two: Reading) -> bool:
    return any(key == other and value != said for key, value in one.facts for other, said in two.facts)


def _line_vs_history(query: LineVsHistory) -> Verdict:
    role = query.role
    if role not in ATTRIBUTES:
        return _invalid(f"the embedded world has no role {role!r}")
    now = read_line(query.line, role)
    conflicts = tuple(
        i
        for i, before in enumerate(read_line(line, role) for line in query.earlier)
        if _other_values(now, before) or _denies(now, before, role) or _denies(before, now, role)
    )
    if conflicts:
        return _inconsistent("contradicts an earlier line", conflicts)
    return _inconsistent("says nothing") if now.wordless else _CONSISTENT


def _answer_vs_gold(query: AnswerVsGold) -> Verdict:
    if query.role not in ATTRIBUTES:
        return _invalid(f"the embedded world has no role {query.role!r}")
    gold = dict(read_facts(query.gold))
    if len(gold) != 1:
        return _invalid(f"the gold answer {query.gold!r} states no fact of the embedded world")
    reading = read_line(query.answer, query.role)
    if reading.left_role:
        return _inconsistent("left the role")
    key, value = next(iter(gold.items()))
    if reading.values(key) != {value}:
        return _inconsistent(f"the right answer is {value}")
    return _CONSISTENT


def _line_vs_previous(query: LineVsPrevious) -> Verdict:
    role = query.persona.role
    facts = _facts(query.persona.description, role)
    if not facts:
        return _invalid(_UNKNOWN_PERSONA)
    reading, asked = read_line(query.line, role), read_asked(query.heard)
    if not reading.well_formed:
        return _inconsistent("is no sentence of the grammar")
    if asked is None or asked.key not in ATTRIBUTES[role]:
        return _CONSISTENT
    if reading.values(asked.key) or (reading.hedges and asked.key not in facts):
        return _CONSISTENT
    return _inconsistent(f"does not answer what was asked: {asked.key}")


def _verdict(query: Query) -> Verdict:
    match query:
        case LineVsPersona():
            return _line_vs_persona(query)
        case LineVsHistory():
            return _line_vs_history(query)
        case AnswerVsGold():
            return _answer_vs_gold(query)
        case LineVsPrevious():
            return _line_vs_previous(query)


class OracleJudge(Judge):
    """Exact verdicts about dialogues of the embedded world; `invalid` about anything else.

    - Line against persona: the line stays in its role, and states no other value of a listed fact and
      nothing that only another role has. What the persona does not list may be made up.
    - Line against history: it conflicts with each earlier line that states another value of the same
      attribute; a line out of the role conflicts with each line in it that states what it denies, and
      the other way round.
    - Answer against gold: it states the right value and no other, in the role.
    - Line against the question before it: a sentence of the grammar that states what was asked for, or openly
      declines where the persona does not list it.

    A line without words is inconsistent everywhere.

    >>> OracleJudge().judge([LineVsHistory("patient", "Pretty sad.", ("Pretty numb.",))])[0].conflicts
    (0,)
    """

    is_exact = True

    @property
    def identity(self) -> Mapping[str, str]:
        """The grammar."""
        return {"judge": "oracle", "world": _world_digest()}

    def judge(self, queries: Sequence[Query]) -> list[Verdict]:
        """Returns the verdicts, in order. About 10 us a query once its lines have been read."""
        return [_verdict(query) for query in queries]
