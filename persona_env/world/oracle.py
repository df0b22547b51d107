"""The exact judge of the embedded world: it parses lines with the grammar that generated them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256

from persona_env.judges.base import (
    AnswerVsGold,
    Judge,
    LineVsHistory,
    LineVsPersona,
    LineVsPrevious,
    LineVsQuestion,
    LineVsRole,
    Query,
    Verdict,
)
from persona_env.world.lexicon import ATTRIBUTES, WORDS
from persona_env.world.reading import (
    Reading,
    listed_facts,
    read_asked,
    read_bare,
    read_facts,
    read_line,
    reads_description,
)

__all__ = ["OracleJudge"]

_CONSISTENT = Verdict("consistent")
_CACHE = 1 << 16
_RULES = 2  # part of the identity: another one where a rule below changes
_NO_SENTENCE = "is no sentence of the grammar"
_UNKNOWN_PERSONA = "the persona is not described in the grammar"
_NOTHING_ASKED = Verdict("consistent", reason="asks for nothing that the persona states", applies=False)


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
    """What a description states about the role's attributes; nothing if the grammar does not read all of it."""
    return listed_facts(description) if reads_description(description, role) else {}


def _settled(reading: Reading) -> Verdict | None:
    """The verdict on a line that says nothing, or of which it is not known what it says."""
    if reading.wordless:
        return _inconsistent("says nothing")
    return None if reading.readable else _invalid(_NO_SENTENCE)


def _line_vs_persona(query: LineVsPersona) -> Verdict:
    role, facts = query.role, _facts(query.persona.description, query.role)
    if not facts:
        return _invalid(_UNKNOWN_PERSONA)
    reading = read_line(query.line, role)
    settled = _settled(reading)
    if settled:
        return settled
    if reading.left_role:
        return _inconsistent("left the role")
    for key, value in reading.facts:
        if key not in ATTRIBUTES[role]:
            return _inconsistent(f"speaks of {key}, which another role has")
        if facts.get(key, value) != value:
            return _inconsistent(f"says {key} is {value}, the persona says {facts[key]}")
    return _inconsistent("states two values of one fact") if reading.contradicts_itself else _CONSISTENT


def _denies(marker: Reading, other: Reading, role: str) -> bool:
    """Whether the first line leaves the role and the second, in the role, states what that denies."""
    return marker.left_role and not other.left_role and any(key in WORDS.roles[role].denied for key, _ in other.facts)


def _other_values(one: Reading, two: Reading) -> bool:
    return any(key == other and value != said for key, value in one.facts for other, said in two.facts)


def _may_conflict(unread: Reading, now: Reading, role: str) -> bool:
    """Whether a line that cannot be read may have to do with what another states."""
    keys = {key for key, _ in now.facts} | (WORDS.roles[role].denied if now.left_role else set())
    return bool(keys) and (unread.foreign or any(key in keys for key, _ in unread.facts))


def _line_vs_history(query: LineVsHistory) -> Verdict:
    role = query.role
    if role not in ATTRIBUTES:
        return _invalid(f"the embedded world has no role {role!r}")
    now, earlier = read_line(query.line, role), [read_line(line, role) for line in query.earlier]
    settled = _settled(now)
    if settled:
        return settled
    conflicts = tuple(
        i
        for i, before in enumerate(earlier)
        if before.readable and (_other_values(now, before) or _denies(now, before, role) or _denies(before, now, role))
    )
    if conflicts:
        return _inconsistent("contradicts an earlier line", conflicts)
    if now.contradicts_itself:
        return _inconsistent("states two values of one fact")
    if any(not before.readable and _may_conflict(before, now, role) for before in earlier):
        return _invalid("an earlier line that may contradict it is no sentence of the grammar")
    return _CONSISTENT


def _answer_vs_gold(query: AnswerVsGold) -> Verdict:
    role = query.role
    if role not in ATTRIBUTES:
        return _invalid(f"the embedded world has no role {role!r}")
    gold = dict(read_facts(query.gold))
    if len(gold) != 1:
        return _invalid(f"the gold answer {query.gold!r} states no fact of the embedded world")
    key, value = next(iter(gold.items()))
    bare, reading = read_bare(query.answer), read_line(query.answer, role)
    settled = None if bare else _settled(reading)
    if settled:
        return settled
    if reading.left_role:
        return _inconsistent("left the role")
    stated = {bare[1]} if bare and bare[0] == key else reading.values(key)
    return _CONSISTENT if stated == {value} else _inconsistent(f"the right answer is {value}")


def _line_vs_previous(query: LineVsPrevious) -> Verdict:
    role, facts = query.role, _facts(query.persona.description, query.role)
    if not facts:
        return _invalid(_UNKNOWN_PERSONA)
    reading, asked = read_line(query.line, role), read_asked(query.heard)
    if not reading.well_formed:
        return _inconsistent(_NO_SENTENCE)
    if asked is None or asked.key not in ATTRIBUTES[role]:
        return _CONSISTENT
    if reading.values(asked.key) or (reading.hedges and asked.key not in facts):
        return _CONSISTENT
    return _inconsistent(f"does not answer what was asked: {asked.key}")


def _line_vs_question(query: LineVsQuestion) -> Verdict:
    role, facts = query.role, _facts(query.persona.description, query.role)
    if not facts:
        return _invalid(_UNKNOWN_PERSONA)
    asked = read_asked(query.heard)
    if asked is None or asked.key not in facts:
        return _NOTHING_ASKED
    reading = read_line(query.line, role)
    if not reading.readable:
        return _inconsistent(_NO_SENTENCE)
    return _CONSISTENT if reading.values(asked.key) else _inconsistent(f"dodges what was asked: {asked.key}")


def _line_vs_role(query: LineVsRole) -> Verdict:
    role = query.role
    if role not in ATTRIBUTES:
        return _invalid(f"the embedded world has no role {role!r}")
    reading = read_line(query.line, role)
    settled = _settled(reading)
    if settled:
        return settled
    return _inconsistent("left the role") if reading.left_role else _CONSISTENT


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
        case LineVsQuestion():
            return _line_vs_question(query)
        case LineVsRole():
            return _line_vs_role(query)


class OracleJudge(Judge):
    """Exact verdicts about dialogues of the embedded world; `invalid` about anything else.

    A line is read only if the grammar, of whatever role, has that sentence, letter for letter: a refusal, an answer,
    two answers joined, a drift line, a drift line and what may follow it, or sentences of a description, also in the
    first person. Of any other line with words in it
    (negations, digits, other languages, other spellings, garbled ones) nobody knows what it says: it is `invalid`, but
    the two guards that ask for an answer find none in it. A line that states two values of one fact contradicts itself.

    - Line against persona: the line stays in its role, and states no other value of a listed fact and
      nothing that only another role has. What the persona does not list may be made up.
    - Line against history: it conflicts with each earlier line that states another value of the same
      attribute; a line out of the role conflicts with each line in it that states what it denies, and
      the other way round. Without a conflict it is `invalid` where an earlier line that is not read may bear on it.
    - Answer against gold: it states the right value and no other, in the role; the value alone will do.
    - Line against what was heard: a sentence of the role that states what was asked for, or openly
      declines where the persona does not list it. A line that is not read is no response: `inconsistent`.
    - Line against the question in it: if the persona lists what is asked for, the line states a value of it, right or
      wrong. A line that is not read states none: `inconsistent`.
    - Line against the role: it is no drift line.

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
