"""Judge backends that answer from the text of a prompt alone, with the grammar of the embedded world."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

from persona_env.judges.backend import JudgeAnswer, JudgeBackend, JudgePrompt
from persona_env.judges.json_answers import read_answer
from persona_env.models.limits import Usage
from persona_env.world.lexicon import ATTRIBUTES
from persona_env.world.reading import read_asked, read_facts, read_line

_STRING = re.compile(r': ("(?:[^"\\]|\\.)*")$', re.MULTILINE)


def shown(prompt: JudgePrompt) -> list[str]:
    """The untrusted texts in a prompt, in order."""
    return [json.loads(text) for text in _STRING.findall(prompt.user)]


def role_of(prompt: JudgePrompt) -> str:
    return next(role for role in ATTRIBUTES if f"plays a {role.replace('_', ' ')}" in prompt.system)


def _clash(one: str, other: str, role: str) -> bool:
    facts = read_line(other, role).facts
    return any(key == known and value != said for key, value in read_line(one, role).facts for known, said in facts)


def is_bad(prompt: JudgePrompt) -> bool:
    """What the grammar of the embedded world says to a prompt with a label."""
    texts, role = shown(prompt), role_of(prompt)
    if "What is known about the" in prompt.user:
        facts, line = dict(read_facts(texts[0])), read_line(texts[-1], role)
        return line.left_role or any(facts.get(key, value) != value for key, value in line.facts)
    if "said earlier:" in prompt.user:
        return _clash(texts[1], texts[0], role)
    if "right answer" in prompt.user:
        return not set(read_facts(texts[1])) <= set(read_line(texts[2], role).facts)
    asked, line = read_asked(texts[0]), read_line(texts[1], role)
    return not line.well_formed or bool(asked and not line.values(asked.key) and not line.hedges)


def grammatical(prompt: JudgePrompt) -> str:
    """The reply of a judge that knows the grammar, as a server would send it."""
    is_negative = prompt.polarity == "negative"
    if prompt.items:
        *earlier, line = shown(prompt)
        bad = {number for number, text in enumerate(earlier, 1) if _clash(line, text, role_of(prompt))}
        return json.dumps({prompt.key: sorted(bad if is_negative else set(range(1, prompt.items + 1)) - bad)})
    return json.dumps({prompt.key: "A" if is_bad(prompt) == is_negative else "B"})


class TextBackend(JudgeBackend):
    """Sends each prompt to a function that replies with text, and reads the reply as that of a server."""

    def __init__(
        self, reply: Callable[[JudgePrompt], str] = grammatical, lists: bool = True, chance: float | None = None
    ):
        self.reply, self.lists, self.chance = reply, lists, chance
        self.batches: list[list[JudgePrompt]] = []

    @property
    def identity(self) -> dict[str, str]:
        return {"backend": "text"}

    @property
    def usage(self) -> Usage:
        return Usage(calls=sum(map(len, self.batches)))

    def answer(self, prompts: Sequence[JudgePrompt]) -> list[JudgeAnswer]:
        self.batches.append(list(prompts))
        answers = [read_answer(self.reply(prompt), prompt) for prompt in prompts]
        return [JudgeAnswer(a.label, self.chance, a.numbers, a.problem, a.raw) for a in answers]
