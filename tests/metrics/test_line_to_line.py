import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_env.judges import Verdict
from persona_env.metrics import LineToLine, pair_score
from persona_env.metrics.line_to_line import LineToLineScore
from tests.metrics.parts import talk

GOOD, INVALID = Verdict("consistent"), Verdict("invalid")


def bad(*conflicts):
    return Verdict("inconsistent", conflicts)


def paper_pair_score(listed, number_of_lines, second_speaker):
    """The released code's arithmetic over both speakers' lines; listed[i] are such indices."""
    parity = 1 if second_speaker else 0
    conflicts = pairs = 0
    for i in range(2, number_of_lines):
        if i % 2 == parity:
            pairs += (i - 1) // 2 if second_speaker else i // 2
            conflicts += sum(j % 2 == parity for j in listed.get(i, ()))
    return 1 - conflicts / pairs


@pytest.mark.parametrize(
    ("verdicts", "score"),
    [
        # pairs: 0 + 1 + 2 + 3 = 6; conflicts: line 2 with line 0, line 3 with lines 0 and 2
        ([GOOD, GOOD, bad(0), bad(0, 2)], 1 - 3 / 6),
        ([GOOD, GOOD, INVALID, bad(0)], 1 - 1 / 4),  # pairs of lines 1 and 3
        ([GOOD, GOOD, Verdict("undecided"), bad(0)], 1 - 1 / 4),
        ([], math.nan),
        ([GOOD, INVALID], math.nan),
    ],
)
def test_the_pair_score_by_hand(verdicts, score):
    assert pair_score(verdicts) == pytest.approx(score, abs=1e-15, nan_ok=True)


def test_the_pair_score_dilutes_with_length_and_the_share_of_lines_does_not():
    short, long = [[GOOD, *[bad(0)] * (n - 1)] for n in (3, 9)]
    assert pair_score(short) == 1 - 2 / 3
    assert pair_score(long) == 1 - 8 / 36
    first = Verdict("consistent", applies=False)
    assert LineToLine().score(talk(*"abc"), [first, *short[1:]]).value == 0.0
    assert LineToLine().score(talk(*"abcdefghi"), [first, *long[1:]]).value == 0.0


@given(st.lists(st.sets(st.integers(0, 8)), min_size=2, max_size=9), st.booleans())
def test_the_pair_score_is_the_papers_arithmetic(sets, second):
    conflicts = [sorted(j for j in found if j < k) for k, found in enumerate(sets)]
    verdicts = [bad(*found) if found else GOOD for found in conflicts]
    shift = int(second)
    listed = {2 * k + shift: [2 * j + shift for j in found] for k, found in enumerate(conflicts)}
    expected = paper_pair_score(listed, 2 * len(sets), second)
    assert pair_score(verdicts) == pytest.approx(expected, abs=1e-12)


def test_the_metric_reports_both_figures():
    class FourthContradictsAll:
        def judge(self, questions):
            return [bad(0, 1, 2) if len(q.earlier) == 3 else GOOD for q in questions]

    (score,) = LineToLine()([talk("One.", "Two.", "Three.", "Four.")], FourthContradictsAll())
    assert isinstance(score, LineToLineScore)
    assert (score.n, score.per_line[1:], score.value, score.pair_score) == (3, (1.0, 1.0, 0.0), 2 / 3, 0.5)
