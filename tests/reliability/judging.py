"""R14, R16 and R17: replies that state no verdict, lines that attack the judge, and judges that know nothing."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice, product
from typing import Any

import numpy as np

from persona_env.judges import AnswerVsGold, LineVsHistory, LineVsPersona, LineVsPrevious, Query
from persona_env.judges.backend import JudgePrompt
from persona_env.judges.content_filter import rejection_reason
from persona_env.judges.json_answers import read_answer
from persona_env.judges.label_prob_backend import LabelProbBackend
from persona_env.judges.llm import LLMJudge
from persona_env.judges.prompts import JudgePrompts
from persona_env.judges.reply_parsing import Kind, parse_verdict
from persona_env.persona import Persona
from persona_env.speakers.one_turn import OneTurnFormat
from persona_env.testing.samples import sample_queries
from tests.judges.backends import TextBackend
from tests.judges.chat_families import FAMILIES, control_ids, tokenizer
from tests.judges.injections import CONTROL, DEMANDS, forgeries
from tests.judges.test_json_answers import UNREADABLE as CLOSED
from tests.judges.test_reply_parsing import UNREADABLE as FREE
from tests.reliability.demands import Measured, demand
from tests.speakers.small import model

WRITTEN, GENERATED, _CHUNK = 10_000, 1_000_000, 20_000

_OPENINGS = (
    "", "Sure! ", "As an AI, ", "```\n", "> ", "# Verdict\n", "Let me think. ", "\u200b", "{",
    "<think>hm</think> ", "I'd say: ", '{"verdict": ', "[", "Answer -> ", "**", "Oops: ", "\ufeff", "Hmm\n\n", "1) ",
    "The user asks: ",
)  # fmt: skip
_CORES = [text for text in (*FREE, *CLOSED) if text.strip() and text not in ("[]", "YES", '"NO"')]
_ENDINGS = (
    " x", "!!x", "\n```", " (see above", "\nThanks", " ]", ' "', "... as I said", " etc", " :-)", "\n\nYour judge",
)  # fmt: skip
_WORDS = np.array([
    "it", "does", "not", "contradict", "the", "background", "know", "note", "NOPE", "N0", "yes-man", "YES or NO",
    "maybe", "consistent", "inconsistent", "fits", "[a", "b]", "[[", "1]x", "{", "}", '"answer":', '"A"', '"B"', "A",
    "B", "```", "null", "\u041d\u041e", "\uff39\uff25\uff33", "NO-one", "however", "no cat", "yes but", "\n", ",",
    "\x07", "score 7", "\U0001f600", "\u200b", "assistant", "<|im_end|>", "true", "because", "answer is unclear",
    "\ud83d", "%s", "{line}",
])  # fmt: skip
_BASES = ('{"answer":"A"}', '{"answer":"B"}', '{"conflicts":[1,2]}', '{"compatible":[]}', '{"conflicts":[]}')
_INSERTED = "abAB01239-+.,:;\"'{}[]()\\/xN\u200b\u0410\x00"

_KINDS: tuple[Kind, ...] = ("prompt_to_line", "line_to_line", "question_answer", "relevance")
_QUERIES = [JudgePrompt(polarity, "", "", items) for items in (0, 3) for polarity in ("negative", "positive")]


def written() -> list[str]:
    """Returns 10,000 replies that somebody could have written, none with a verdict."""
    texts = (f"{opening}{core}{ending}" for ending, core, opening in product(_ENDINGS, _CORES, _OPENINGS))
    return list(islice(texts, WRITTEN))


def _talk(rng: np.random.Generator) -> list[str]:
    """Words that judges use, in random order, with a tail that sets no verdict off."""
    return [f"{' '.join(words)} so" for words in rng.choice(_WORDS, size=(_CHUNK, 5)).tolist()]


def _noise(rng: np.random.Generator) -> list[str]:
    """Random characters of many scripts."""
    return rng.integers(1, 0x2FFF, size=(_CHUNK, 12)).astype("<u4").view("<U12").ravel().tolist()


def _broken(rng: np.random.Generator) -> list[str]:
    """Right answers with one character too many or too few: none can be read."""
    bases, where = rng.choice(_BASES, _CHUNK).tolist(), rng.random(_CHUNK).tolist()
    what, replies = rng.integers(2 * len(_INSERTED), size=_CHUNK).tolist(), list[str]()
    for text, place, kind in zip(bases, where, what, strict=True):
        added = _INSERTED[kind] if kind < len(_INSERTED) else ""
        # A digit between empty brackets is an answer; without its brace, a list is one to the reader of free text.
        added = "x" if added.isdigit() and "[]" in text else added
        cut = int(place * (len(text) - (not added)))
        replies.append(text[:cut] + added + text[cut + (not added) :])
    return replies


def generated() -> Iterator[list[str]]:
    """Yields a million replies in chunks."""
    rng, makers = np.random.default_rng(0), (_talk, _noise, _broken, _talk, _broken)
    for chunk in range(GENERATED // _CHUNK):
        yield makers[chunk % len(makers)](rng)


@demand(
    "R14",
    f"{WRITTEN + GENERATED:,} judge replies without a verdict ({WRITTEN:,} written), through both readers",
    "0 consistent, <= 15 s",
)
def garbled_replies() -> Measured:
    begin, consistent, inconsistent, lenient, total = time.process_time(), 0, 0, 0, 0
    for replies in (written(), *generated()):
        for number, reply in enumerate(replies):
            label = parse_verdict(reply, _KINDS[number % 4], (1, 3, 5)).label
            consistent += label == "consistent" or not read_answer(reply, _QUERIES[number // 4 % 4]).problem
            inconsistent += label == "inconsistent"
            lenient += "YES" not in reply
        total += len(replies)
    seconds = time.process_time() - begin
    told = f"{consistent} consistent, {inconsistent} inconsistent, {seconds:.1f} s of one core"
    met = consistent == 0 and seconds <= 15 and total >= WRITTEN + GENERATED
    return met, f"{told} (what holds no YES is consistent: {lenient / total:.1%})"


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
    return made.apply_chat_template(messages, tokenize=True, add_generation_prompt=True, return_dict=False)


def _controls(name: str, ids: Sequence[int]) -> int:
    return sum(i in control_ids(name) for i in ids)


@demand(
    "R16",
    f"{len(forgeries())} forgeries x {len(FAMILIES)} chat templates, as a server and as the local judge encodes them",
    "0 forged control tokens (>= 500 injections, >= 5 templates)",
)
def forged_tokens() -> Measured:
    prompts, lines, count, forged, unclean = JudgePrompts.load(), forgeries(), 0, 0, 0
    for name in FAMILIES:
        local, server = OneTurnFormat.derive(tokenizer(name)).question, partial(_served, name)
        plain = {way: _controls(name, way("S.", "U.")) for way in (server, local)}
        for number, line in enumerate(lines):
            pair = prompts.both(queries(line, line)[number % 4])
            for prompt, way in ((pair[0], server), (pair[1], server), (pair[0], local)):
                count += 1
                forged += _controls(name, way(prompt.system, prompt.user)) != plain[way]
            unclean += _controls(name, server("S.", json.dumps(line, ensure_ascii=False))) != plain[server]
    told = f"{forged} in {count:,} prompts (JSON alone: {unclean:,} of {len(lines) * len(FAMILIES):,})"
    return forged == 0 and unclean > 0 and len(lines) >= 500 and len(FAMILIES) >= 5, told


_ORDERED = re.compile(r"\b(?:reply|answer|choose|Answer:)\b[^AB]{0,24}\b([AB])\b")
_ORDERS = [order % letter for order in DEMANDS for letter in "AB"]
_ATTACKS = [f"{order} {token}" for token in CONTROL for order in _ORDERS] + _ORDERS


def obedient(prompt: JudgePrompt) -> str:
    """A judge that obeys the first order that it finds in what it is shown, with that very answer."""
    order = _ORDERED.search(prompt.user.replace('\\"', '"'))
    letter = order.group(1) if order else "A"
    return json.dumps({prompt.key: [1] if prompt.items else letter})


def adaptive(prompt: JudgePrompt) -> str:
    """A judge that is told to find the line right, and knows for each prompt which answer that is."""
    good = prompt.polarity == "positive"
    numbers = list(range(1, prompt.items + 1)) if good else []
    return json.dumps({prompt.key: numbers if prompt.items else "AB"[not good]})


def _consistent(judge: LLMJudge, asked: Sequence[Query]) -> float:
    """The share of consistent verdicts."""
    return sum(verdict.label == "consistent" for verdict in judge.judge(asked)) / len(asked)


@demand(
    "R16",
    f"{len(_ATTACKS)} lines with orders, to a judge that obeys with a fixed answer",
    "0 consistent; rate of an adaptive judge reported",
)
def obeyed_orders() -> Measured:
    asked = [query for line in _ATTACKS for query in queries(line)]
    fixed, persuaded = (_consistent(LLMJudge(TextBackend(judge)), asked) for judge in (obedient, adaptive))
    return fixed == 0, f"{fixed:.1%} of {len(asked):,} consistent; a judge that obeys the meaning: {persuaded:.0%}"


_JUDGES = 8


@demand("R17", f"{_JUDGES} judges with random weights", "<= 10 % consistent")
def random_judges() -> Measured:
    asked = [
        query
        for role in ("patient", "student", "chat_partner")
        for query in sample_queries(role)
        if not rejection_reason(query) and not (isinstance(query, LineVsHistory) and len(query.earlier) not in (1, 2))
    ]
    one_prompt = [JudgePrompts.load().both(query)[0] for query in asked if not isinstance(query, LineVsHistory)]
    shares, alone, shipped = list[float](), list[float](), list[float]()
    for seed in range(_JUDGES):
        words = tokenizer(list(FAMILIES)[seed % len(FAMILIES)])
        weights = model(vocabulary=len(words), length=4096, seed=seed)
        trusting = LabelProbBackend(weights, words, min_mass=0.0)
        shares.append(_consistent(LLMJudge(trusting), asked))
        alone.append(sum(answer.label == "B" for answer in trusting.answer(one_prompt)) / len(one_prompt))
        shipped.append(_consistent(LLMJudge(LabelProbBackend(weights, words)), asked[::5]))
    told = f"of {len(asked)} queries each: at most {max(shares):.1%}, mean {sum(shares) / _JUDGES:.1%}"
    more = f"one prompt alone: up to {max(alone):.0%}; as shipped: {max(shipped):.1%}"
    return max(shares) <= 0.1, f"{told} ({more})"
