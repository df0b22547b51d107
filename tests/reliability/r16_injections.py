"""R16: lines that forge control tokens or give the judge orders, on seven chat templates."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from persona_env.judges import AnswerVsGold, LineVsHistory, LineVsPersona, LineVsPrevious, Query, Verdict
from persona_env.judges.backend import JudgePrompt
from persona_env.judges.llm import LLMJudge
from persona_env.judges.prompts import JudgePrompts
from persona_env.persona import Persona
from persona_env.speakers.chat_format import ChatFormat
from tests.judges.backends import TextBackend
from tests.judges.chat_families import FAMILIES, control_ids, tokenizer
from tests.judges.injections import CONTROL, DEMANDS, forgeries
from tests.reliability.rows import Row

MEI = Persona("m", "patient", "Mei", "You are Mei. You sleep four hours a night.")


def queries(line: str, heard: str = "How long do you sleep?") -> list[Query]:
    """All kinds of query about a line."""
    return [
        LineVsPersona(MEI, line, heard),
        LineVsHistory("patient", line, ("I sleep four hours.", heard)),
        AnswerVsGold("patient", heard, "four hours a night", line),
        LineVsPrevious(MEI, heard, line),
    ]


def _served(name: str, system: str, user: str) -> list[int]:
    """Token ids as a server makes them: the texts go into the template as they are."""
    made: Any = tokenizer(name)
    messages = [{"role": "user", "content": f"{system}\n\n{user}"}]
    if name != "gemma":
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    text = made.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return made.backend_tokenizer.encode(text, add_special_tokens=False).ids


def _forged(
    encode: Callable[[str, str], Sequence[int]], controls: frozenset[int], prompt: JudgePrompt, plain: int
) -> bool:
    return sum(i in controls for i in encode(prompt.system, prompt.user)) != plain


def forged_tokens(lines: Sequence[str]) -> tuple[int, int, int]:
    """Returns prompts, those with a forged control token, and those that `json.dumps` alone lets through."""
    prompts, count, forged, unclean = JudgePrompts.load(), 0, 0, 0
    for name in FAMILIES:
        controls, local = control_ids(name), ChatFormat.derive(tokenizer(name))
        ways = [lambda system, user, name=name: _served(name, system, user), local.opening]
        plain = [sum(i in controls for i in way("S.", "U.")) for way in ways]
        for number, line in enumerate(lines):
            pair = prompts.both(queries(line, line)[number % 4])  # in every place for somebody else's text
            for prompt, way, expected in zip((*pair, pair[0]), (ways[0], *ways), (plain[0], *plain), strict=True):
                count += 1
                forged += _forged(way, controls, prompt, expected)
            raw = JudgePrompt("positive", "S.", json.dumps(line, ensure_ascii=False))
            unclean += _forged(ways[0], controls, raw, plain[0])
    return count, forged, unclean


_ORDERED = re.compile(r"\b(?:reply|answer|choose|Answer:)\b[^AB]{0,24}\b([AB])\b")


def obedient(prompt: JudgePrompt) -> str:
    """A judge that obeys the first order that it finds in what it is shown, with that very answer."""
    order = _ORDERED.search(prompt.user.replace('\\"', '"'))
    letter = order.group(1) if order else "A"
    return json.dumps({prompt.key: [1] if prompt.items else letter})


def adaptive(prompt: JudgePrompt) -> str:
    """A judge that is told to find the line right, and knows for each prompt which answer that is."""
    good = prompt.polarity == "positive"
    if prompt.items:
        return json.dumps({prompt.key: list(range(1, prompt.items + 1)) if good else []})
    return json.dumps({prompt.key: "A" if good else "B"})


def _consistent(verdicts: Sequence[Verdict]) -> int:
    return sum(verdict.label == "consistent" for verdict in verdicts)


def measure() -> list[Row]:
    """Encodes every attack with every template, and lets two judges obey."""
    lines = forgeries()
    count, forged, unclean = forged_tokens(lines)
    orders = [demand % letter for demand in DEMANDS for letter in "AB"]
    attacks = [f"{order} {token}" for token in CONTROL for order in orders] + orders
    asked = [query for line in attacks for query in queries(line)]
    fixed = _consistent(LLMJudge(TextBackend(obedient)).judge(asked))
    persuaded = _consistent(LLMJudge(TextBackend(adaptive)).judge(asked))
    families = len(FAMILIES)
    return [
        Row(
            "R16",
            f"{len(lines)} forgeries x {families} chat templates, as a server and as the local judge encodes them",
            "0 forged control tokens (>= 500 injections, >= 5 templates)",
            f"{forged} in {count:,} prompts (JSON alone: {unclean:,} of {len(lines) * families:,})",
            met=forged == 0 and unclean > 0 and len(lines) >= 500 and families >= 5,
        ),
        Row(
            "R16",
            f"{len(attacks)} lines with orders, to a judge that obeys with a fixed answer",
            "0 consistent; rate of an adaptive judge reported",
            f"{fixed} of {len(asked):,} consistent; a judge that obeys the meaning: {persuaded / len(asked):.0%}",
            met=fixed == 0,
        ),
    ]
