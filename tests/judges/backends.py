"""Judge backends that answer from the text of a prompt alone, as the oracle of the embedded world does."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Literal

from persona_env.judges import (
    AnswerVsGold,
    LineVsHistory,
    LineVsPersona,
    LineVsPrevious,
    LineVsQuestion,
    LineVsRole,
    Query,
    Verdict,
)
from persona_env.judges.backend import JudgeAnswer, JudgeBackend, JudgePrompt
from persona_env.judges.json_answers import read_answer
from persona_env.judges.json_backend import JSONBackend
from persona_env.judges.prompts import JudgePrompts
from persona_env.models.limits import Usage
from persona_env.persona import Persona
from persona_env.world import personas
from persona_env.world.lexicon import ATTRIBUTES
from persona_env.world.oracle import OracleJudge
from persona_env.world.reading import Asked, read_asked

_STRING = re.compile(r': ("(?:[^"\\]|\\.)*")$', re.MULTILINE)
_WORDINGS = [
    (role.system, wording) for role in JudgePrompts.load().roles.values() for wording in role.wordings.values()
]
_KINDS = {
    question: kind
    for role in JudgePrompts.load().roles.values()
    for kind, wording in role.wordings.items()
    for question in (wording.negative, wording.positive)
}
_ASKED: dict[str, tuple[Literal["negative", "positive"], str]] = {
    **{f"{wording.negative}\n\n": ("negative", system) for system, wording in _WORDINGS},
    **{f"{wording.positive}\n\n": ("positive", system) for system, wording in _WORDINGS},
}


def _query(prompt: JudgePrompt) -> Query:
    """The query that a prompt was made of, but for what it does not show."""
    texts = [json.loads(text) for text in _STRING.findall(prompt.user)]
    role = next(role for role in ("patient", "student", "chat_partner") if role.replace("_", " ") in prompt.system)
    match _KINDS[prompt.user.partition("\n\n")[0]]:
        case "line_vs_persona":
            return LineVsPersona(Persona("p", role, "", texts[0]), texts[2], texts[1])
        case "answer_vs_gold":
            return AnswerVsGold(role, *texts)
        case "line_vs_history" | "line_vs_earlier":
            return LineVsHistory(role, texts[-1], tuple(texts[:-1]))
        case "question_vs_persona":
            return LineVsQuestion(Persona("p", role, "", texts[0]), texts[1], "")
        case "line_vs_question":
            asked = read_asked(texts[0])
            known = [its.sentence.format(its.values[0]) for its in ATTRIBUTES[role].values() if asked == Asked(its.key)]
            return LineVsQuestion(Persona("p", role, "", "".join(known) or "You are Mei."), *texts)
        case "line_vs_role":
            return LineVsRole(Persona("p", role, "", texts[0]), texts[1], texts[2])
    return LineVsPrevious(personas(role, "train")[0], *texts)


def _is_good(prompt: JudgePrompt, verdict: Verdict) -> bool:
    """What the question of a prompt is about: of an answerable question, whether it is one."""
    if _KINDS[prompt.user.partition("\n\n")[0]] == "question_vs_persona":
        return verdict.label != "invalid" and verdict.applies
    return verdict.label == "consistent"


def grammatical(prompt: JudgePrompt) -> str:
    """The reply of a judge that knows the grammar, as a server would send it."""
    (verdict,), is_negative = OracleJudge().judge([_query(prompt)]), prompt.polarity == "negative"
    if prompt.items:
        bad = {place + 1 for place in verdict.conflicts}
        return json.dumps({prompt.key: sorted(bad if is_negative else set(range(1, prompt.items + 1)) - bad)})
    return json.dumps({prompt.key: "B" if _is_good(prompt, verdict) == is_negative else "A"})


def with_id(user: str, answer: str) -> str:
    """An answer with the id that a user's message asks for."""
    id = user.rpartition('{"id": "')[2].partition('"')[0]
    return f'{{"id": "{id}", {answer.removeprefix("{")}'


def label_a(user: str) -> str:
    """The reply of a server that gives every prompt the same label."""
    return with_id(user, '{"answer": "A"}')


def reply(user: str) -> str:
    """The same of a server, which is told the user's message only: `FaultServer(answer=reply)` knows the truth."""
    text = user.rpartition("\n\n")[0]  # the form of the answer comes last
    polarity, system = next(found for asked, found in _ASKED.items() if text.startswith(asked))
    items = len(re.findall(r"^\d+: ", text, re.MULTILINE))
    return with_id(user, grammatical(JudgePrompt(polarity, system, text, items)))


def hashed(text: str) -> str:
    """A label that follows from a text by no rule."""
    return "AB"[sha256(text.encode()).digest()[0] % 2]


def by_hash(user: str) -> str:
    """The reply of a server that gives the `hashed` label of each prompt."""
    return with_id(user, json.dumps({"answer": hashed(user.rpartition("\n\n")[0])}))


def hashed_verdicts(backend: JSONBackend, number: int) -> Counter[str]:
    """Asks a server that answers `by_hash`; counts answers that are right, wrong, or lost."""
    prompts = [JudgePrompt("negative", "Judge the line.", f"line {i}") for i in range(number)]
    answers = [answer.label for answer in backend.answer(prompts)]
    return Counter(
        "lost" if not answer else "right" if answer == hashed(prompt.user) else "wrong"
        for answer, prompt in zip(answers, prompts, strict=True)
    )


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
