"""What an exact judge replies to our prompts: `FaultServer(answer=reply)` is the truth behind a real interface."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from persona_env.judges import AnswerVsGold, LineVsHistory, LineVsPersona, LineVsPrevious, Query
from persona_env.judges.prompts import JudgePrompts
from persona_env.world import personas
from persona_env.world.oracle import OracleJudge

__all__ = ["reply"]

_ORACLE, _PROMPTS = OracleJudge(), JudgePrompts.load()
_PERSONAS = {one.prompt: one for split in ("train", "dev") for one in personas("patient", split)}
_KINDS = ("line_vs_persona", "line_vs_history", "answer_vs_gold", "line_vs_previous")


def _pattern(shown: str) -> re.Pattern[str]:
    """Returns what finds the texts in a filled prompt again."""
    parts = re.split(r"\{(\w+)\}", shown)
    return re.compile("".join(f"(?P<{part}>.*?)" if i % 2 else re.escape(part) for i, part in enumerate(parts)), re.S)


def _query(kind: str, texts: dict[str, str]) -> Query:
    if kind == "line_vs_history":
        earlier = tuple(json.loads(line.partition(": ")[2]) for line in texts["earlier"].splitlines())
        return LineVsHistory("patient", json.loads(texts["line"]), earlier)
    text = {name: json.loads(value) for name, value in texts.items()}
    if kind == "answer_vs_gold":
        return AnswerVsGold("patient", text["question"], text["gold"], text["answer"], tuple(text["choices"]))
    if kind == "line_vs_previous":
        one = _PERSONAS[text["persona"]] if "persona" in text else next(iter(_PERSONAS.values()))
        return LineVsPrevious(one, text["heard"], text["line"])
    return LineVsPersona(_PERSONAS[text["persona"]], text["line"], text["heard"])


def _read(user: str) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yields kind, polarity and texts of a prompt of ours."""
    for kind in _KINDS:
        wording = _PROMPTS.roles["patient"].wordings[kind]
        for polarity, asked in (("negative", wording.negative), ("positive", wording.positive)):
            if user.startswith(f"{asked}\n\n"):
                shown = user[len(asked) + 2 :].rpartition("\n\n")[0]  # the form of the answer comes last
                found = _pattern(wording.shown).fullmatch(shown)
                if found:
                    yield kind, polarity, found.groupdict()


def reply(prompt: str) -> str:
    """Returns what an exact judge replies to one of our prompts: a JSON object with the key that it asks for."""
    kind, polarity, texts = next(_read(prompt))
    key, query = re.findall(r'\{"(\w+)": ', prompt)[-1], _query(kind, texts)
    verdict = _ORACLE.judge([query])[0]
    if isinstance(query, LineVsHistory):
        numbers = set(range(1, len(query.earlier) + 1))
        bad = {place + 1 for place in verdict.conflicts}
        return json.dumps({key: sorted(bad if polarity == "negative" else numbers - bad)})
    yes = (verdict.label == "consistent") == (polarity == "positive")
    return json.dumps({key: "A" if yes else "B"})
