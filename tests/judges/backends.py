"""Askers that really answer what they are asked, from the text of the query alone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

from persona_env.judges.backend import Answer, JudgePrompt
from persona_env.judges.json_answers import read_answer
from persona_env.models.limits import Usage
from persona_env.world.lexicon import ATTRIBUTES
from persona_env.world.reading import read_asked, read_facts, read_line

_STRING = re.compile(r': ("(?:[^"\\]|\\.)*")$', re.MULTILINE)


def shown(query: JudgePrompt) -> list[str]:
    """The texts of others that a query shows, in order."""
    return [json.loads(text) for text in _STRING.findall(query.user)]


def role_of(query: JudgePrompt) -> str:
    return next(role for role in ATTRIBUTES if f"plays a {role.replace('_', ' ')}" in query.system)


def _clash(one: str, other: str, role: str) -> bool:
    facts = read_line(other, role).facts
    return any(key == known and value != said for key, value in read_line(one, role).facts for known, said in facts)


def is_bad(query: JudgePrompt) -> bool:
    """What the grammar of the embedded world says to a query with a label."""
    texts, role = shown(query), role_of(query)
    if "What is known about the" in query.user:
        facts, line = dict(read_facts(texts[0])), read_line(texts[-1], role)
        return line.left_role or any(facts.get(key, value) != value for key, value in line.facts)
    if "said earlier:" in query.user:
        return _clash(texts[1], texts[0], role)
    if "right answer" in query.user:
        return not set(read_facts(texts[1])) <= set(read_line(texts[2], role).facts)
    asked, line = read_asked(texts[0]), read_line(texts[1], role)
    return not line.well_formed or bool(asked and not line.values(asked.key) and not line.hedges)


def grammatical(query: JudgePrompt) -> str:
    """The reply of a judge that knows the grammar, as a server would send it."""
    against = query.polarity == "against"
    if query.items:
        *earlier, line = shown(query)
        bad = {number for number, text in enumerate(earlier, 1) if _clash(line, text, role_of(query))}
        return json.dumps({query.key: sorted(bad if against else set(range(1, query.items + 1)) - bad)})
    return json.dumps({query.key: "A" if is_bad(query) == against else "B"})


class TextAsker:
    """Sends each query to a function that replies with text, and reads the reply as that of a server."""

    def __init__(
        self, reply: Callable[[JudgePrompt], str] = grammatical, lists: bool = True, chance: float | None = None
    ):
        self.reply, self.lists, self.chance = reply, lists, chance
        self.identity = {"asker": "text"}
        self.asked: list[list[JudgePrompt]] = []

    @property
    def usage(self) -> Usage:
        return Usage(calls=sum(map(len, self.asked)))

    def ask(self, queries: Sequence[JudgePrompt]) -> list[Answer]:
        self.asked.append(list(queries))
        answers = [read_answer(self.reply(query), query) for query in queries]
        return [Answer(a.label, self.chance, a.numbers, a.problem, a.raw) for a in answers]
