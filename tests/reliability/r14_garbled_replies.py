"""R14: judge replies that state no verdict, a written corpus and generated ones, through both strict readers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice, product

import numpy as np

from persona_env.judges.backend import JudgePrompt
from persona_env.judges.json_answers import read_answer
from persona_env.judges.reply_parsing import Kind, parse_verdict
from tests.reliability.rows import Row

WRITTEN = 10_000
GENERATED = 1_000_000
_CHUNK = 20_000

_OPENINGS = (
    "", "Sure! ", "As an AI, ", "```\n", "> ", "# Verdict\n", "Let me think. ", "\u200b",
    "<think>hm</think> ", "I'd say: ",
    "{", '{"verdict": ', "[", "Answer -> ", "**", "Oops: ", "\ufeff", "Hmm\n\n", "1) ", "The user asks: ",
)  # fmt: skip
_CORES = (
    "", "It does not contradict the background.", "YESTERDAY", "NOTHING", "YES or NO", "YES-man", "no-one", "N\u200bO",
    "\uff2e\uff2f", "\u041d\u041e", "perhaps", "It fits, no", "I cannot say NO", "This is not a NO", "true", "null",
    "the background says YES, the line says NO", "Is it a NO?", "0.93", "n/a", "[a]", "[1;", "2]", "[[]", "[1.5]",
    '{"answer": "C"}', '{"answer": ["A"]}', '{"Answer": "A"}', '{"answer": "A", "answer": "B"}', "{'answer': 'A'}",
    '{"answer": "A"', '{"conflicts": [9]}', '{"conflicts": [1, 1]}', '{"conflicts": [true]}', '{"conflicts": "none"}',
    "A or B", "(A)", "B.", "consistent", "inconsistent", "Error 503", "<html>502 Bad Gateway</html>", "\ud83d", "\x00",
    "No, I cannot judge this.", "Yes, of course I can help you with that!", "NO. 3 is what they mean", "[None, 1]",
    '"No."', "> No.", 'Asked whether she drinks, the patient says: "No."', "The line is:\nNo", 'The line is: "[]"',
)  # fmt: skip
_ENDINGS = (
    " x", "!!x", "\n```", " (see above", "\nThanks", " ]", ' "', "... as I said", " etc",
    " :-)", "\n\nRegards, your judge",
)  # fmt: skip

_WORDS = np.array([
    "it", "does", "not", "contradict", "the", "background", "know", "note", "NOPE", "N0", "yes-man", "YES or NO",
    "maybe",
    "consistent", "inconsistent", "fits", "[a", "b]", "[[", "1]x", "{", "}", '"answer":', '"A"', '"B"', "A", "B", "```",
    "null", "\u041d\u041e", "\uff39\uff25\uff33", "NO-one", "however", "no cat", "yes but", "\n", ",", "score 7",
    "\U0001f600",
    "\u200b", "assistant", "<|im_end|>", "true", "because", "answer is unclear", "\ud83d", "\x07", "%s", "{line}",
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
    drawn = _WORDS[rng.integers(len(_WORDS), size=(_CHUNK, 5))]
    return [f"{a} {b} {c} {d} {e} so" for a, b, c, d, e in drawn.tolist()]


def _noise(rng: np.random.Generator) -> list[str]:
    """Random characters of many scripts."""
    points = rng.integers(1, 0x2FFF, size=(_CHUNK, 12)).astype("<u4")
    return points.view("<U12").ravel().tolist()


def _broken(rng: np.random.Generator) -> list[str]:
    """Right answers with one character too many or too few: none can be read."""
    which = rng.integers(len(_BASES), size=_CHUNK).tolist()
    where, what = rng.random(_CHUNK).tolist(), rng.integers(2 * len(_INSERTED), size=_CHUNK).tolist()
    replies = []
    for base, place, kind in zip(which, where, what, strict=True):
        text = _BASES[base]
        added = _INSERTED[kind] if kind < len(_INSERTED) else ""
        # A digit between empty brackets is an answer; without its brace, a list is one to the reader of free text.
        added = "x" if added.isdigit() and "[]" in text else added
        cut = int(place * (len(text) - (not added)))
        replies.append(text[:cut] + added + text[cut + (not added) :])
    return replies


def generated(seed: int = 0) -> Iterator[list[str]]:
    """Yields a million replies in chunks."""
    rng = np.random.default_rng(seed)
    makers = (_talk, _noise, _broken, _talk, _broken)
    for chunk in range(GENERATED // _CHUNK):
        yield makers[chunk % len(makers)](rng)


def readings(replies: list[str]) -> tuple[int, int]:
    """Returns how many replies one of the readers found consistent (or answered), and inconsistent."""
    consistent = inconsistent = 0
    for number, reply in enumerate(replies):
        label = parse_verdict(reply, _KINDS[number % 4], (1, 3, 5)).label
        consistent += label == "consistent" or not read_answer(reply, _QUERIES[number // 4 % 4]).problem
        inconsistent += label == "inconsistent"
    return consistent, inconsistent


def measure() -> list[Row]:
    """Reads all replies."""
    begin, count, lenient = time.process_time(), np.zeros(2, int), 0
    total = 0
    for replies in (written(), *generated()):
        count += readings(replies)
        lenient += sum("YES" not in reply for reply in replies)
        total += len(replies)
    seconds = time.process_time() - begin
    consistent, inconsistent = count.tolist()
    return [
        Row(
            "R14",
            f"{total:,} judge replies without a verdict ({WRITTEN:,} written), through both readers",
            "0 consistent, <= 15 s",
            f"{consistent} consistent, {inconsistent} inconsistent, {seconds:.1f} s of one core "
            f"(what holds no YES is consistent: {lenient / total:.1%})",
            met=consistent == 0 and seconds <= 15 and total >= WRITTEN + GENERATED,
        )
    ]
