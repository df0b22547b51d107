import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_env.judges.reply_parsing import Kind, parse_verdict, read_yes_no

KINDS: tuple[Kind, ...] = ("prompt_to_line", "line_to_line", "question_answer", "relevance")

YES = [
    "YES", "yes", "Yes.", "**YES**", "`YES`", "YES, it contradicts the background.", "Yes.\nThey said otherwise.",
    "**Yes**\r\nThey said otherwise.", "YES\nBecause of the cat.", "It goes against what they said. YES",
    "It goes against what they said; YES.", "It goes against what they said.\n\nYES", "It goes against it, so YES.",
    "Therefore, YES", "Verdict: yes", "The answer is YES", "They said otherwise. YES (a little).",
    "No cat was named before; YES", "There is no doubt. YES!", "**Answer:**\n\nYES.", "So the answer is: YES.",
    'The answer is "YES".', 'Verdict: **"YES"**', 'They say "I stopped." YES', "(Yes)",
]  # fmt: skip
UNREADABLE = [
    "", " \n", "It does not contradict the background.", "YESTERDAY", "NOTHING", "KNOW", "YES-man", "no-one",
    "No, I cannot judge this.",
    "Yes, of course I can help you with that!", "No. I will not.", "It fits, no", "They sleep well, so yes",
    "NO. 3 is what they mean",
    "I cannot say NO", "This is not a NO", "The line says NO to tea and fits.", "No. 3 is what they mean",
    "No cat was named", "yes and then some", "Is it a NO?", "\uff2e\uff2f", "N\u200bO", "\u041d\u041e", "[]", "y",
    "true", '"NO"', "'No.'", '"No."\n\nThis contradicts the background: Ann drinks every day.',
    "\u201cNo.\u201d\n\nThis contradicts the background: Ann drinks every day.",
    '*"No."*\n\nThis contradicts the background.', "> No.", "> NO.\n\nThis line contradicts the background.",
    '> "No."\n\nThis line contradicts the background.',
    'The background says she drinks daily. Asked whether she drinks, the patient answers: "No."',
    'The patient says: "NO."', "The patient says: \u201cNo.\u201d", "The patient says: **NO**",
    'The patient says, "NO"', 'She answered. "NO', "The line is:\nNo", "The line is:\n\nNO", "The line is:\n> No",
    'The line is\n"No."', 'Line: "No"\nIt contradicts the background.',
]  # fmt: skip
BOTH = [
    "YES or NO", "The background says YES. The line does not fit. NO", "NO. On second thoughts: YES",
    "I answer YES if it contradicts, NO if not. It fits.", "Yes.\nThe answer is NO",
]  # fmt: skip


@pytest.mark.parametrize("reply", YES)
def test_a_yes_is_read_in_its_place_and_so_is_a_no(reply: str):
    labels = [parse_verdict(reply, kind).label for kind in KINDS]
    assert labels == ["inconsistent", "invalid", "consistent", "consistent"]
    swapped = re.sub(r"\byes\b", "no", reply.replace("YES", "NO").replace("Yes", "No"))
    said, _ = read_yes_no(swapped)
    assert said is False
    assert parse_verdict(swapped, "prompt_to_line").label == "consistent"
    assert parse_verdict(swapped, "question_answer").label == "inconsistent"


@pytest.mark.parametrize(
    ("reply", "label"), [*((reply, "invalid") for reply in UNREADABLE), *((reply, "undecided") for reply in BOTH)]
)
@pytest.mark.parametrize("kind", ["prompt_to_line", "question_answer", "relevance"])
def test_no_verdict_is_invalid_and_both_are_undecided(reply: str, label: str, kind: Kind):
    verdict = parse_verdict(reply, kind)
    assert (verdict.label, verdict.raw) == (label, reply)
    assert verdict.reason


LISTS = [
    ("[]", "consistent", ()), ("No conflict. [ ]", "consistent", ()),
    ("No conflict.\n\n[]\n\nNothing was said before.", "consistent", ()), ("None of them. [None]", "consistent", ()),
    ("It conflicts. [3]", "inconsistent", (1,)), ("It conflicts.\n**[5, 1]**.", "inconsistent", (0, 2)),
    ("It conflicts. [3, 3, 3,]", "inconsistent", (1,)),
    ("As said [1, 3], it conflicts.\n[3, 1]", "inconsistent", (0, 1)),
    ("It conflicts. [3, 4, 99]", "inconsistent", (1,)), ("Only with the other speaker. [2, 4]", "invalid", ()),
    ("Out of range. [7]", "invalid", ()), ("Negative. [-1]", "invalid", ()), ("No list.", "invalid", ()),
    ("", "invalid", ()), ("It goes with [1, 3] as said before.", "invalid", ()),
    ("No conflict []. But it might: [3]", "undecided", ()), ("[1]\n[3]", "undecided", ()),
    ("[No conflicting lines]", "invalid", ()),
    ("[line 3]", "invalid", ()), ("[1-3]", "invalid", ()), ("[1, 3.0]", "invalid", ()), ("['3']", "invalid", ()),
    ('The line is: "[]"', "invalid", ()), ("[[3]]", "invalid", ()), ("[3", "invalid", ()), ("3]", "invalid", ()),
    ("[,]", "invalid", ()), ("[1,,3]", "invalid", ()), ("[٣]", "invalid", ()), ("[" + "9" * 5000 + "]", "invalid", ()),
    ("[__import__('os').abort()]", "invalid", ()), ("NO", "invalid", ()),
]  # fmt: skip


@pytest.mark.parametrize(("reply", "label", "conflicts"), LISTS)
def test_a_list_of_lines_is_checked_and_its_lines_are_the_speakers_own(reply: str, label: str, conflicts: tuple):
    verdict = parse_verdict(reply, "line_to_line", own_lines=(1, 3, 5))
    assert (verdict.label, verdict.conflicts) == (label, conflicts)


PIECES = [*"[]3,.\n ()", *["YES", "NO", "yes", "no", "[]", "[3]", "not", "None", "**", "so"]]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.sampled_from(PIECES)).map("".join), st.sampled_from(KINDS))
def test_shuffled_pieces_of_replies_are_consistent_only_with_the_word_or_list_for_it(reply: str, kind: Kind):
    if parse_verdict(reply, kind, (0, 2)).label == "consistent":
        good = {"line_to_line": r"\[\W*(None)?\W*\]", "prompt_to_line": r"\b(NO|no)\b"}.get(kind, r"\b(YES|yes)\b")
        bad = {"line_to_line": r"\[3", "prompt_to_line": r"\bYES\b"}.get(kind, r"\bNO\b")
        assert re.search(good, reply)
        assert not re.search(bad, reply)
