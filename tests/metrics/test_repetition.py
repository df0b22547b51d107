import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_env.metrics import Repetition
from persona_env.metrics.repetition import likeness
from tests.metrics.parts import talk

NEAR = ("one two three four five", "one two three four six", "one two three four five six")


@pytest.mark.parametrize(
    ("threshold", "lines", "per_line"),
    [
        (0.8, ("I'm fine, thanks.", "And you?", "i am fine -- THANKS!"), (1, 1, 0)),
        # likeness of line 1 to line 0: 4 of 6 words; of line 2 to either: 5 of 6
        (0.8, NEAR, (1, 1, 0)),
        (0.6, NEAR, (1, 0, 0)),
        (None, NEAR, (1, 1, 1)),
        (0.6, ("I sleep four hours.", "I sleep five hours."), (1, 0)),  # three of five words: the threshold counts
        (0.8, ("I sleep four hours.", "I eat at noon.", "I drink four beers."), (1, 1, 1)),
        (0.8, ("...", "?!"), (1, 0)),  # lines without words repeat each other
    ],
)
def test_a_line_repeats_from_the_threshold_on(threshold, lines, per_line):
    assert Repetition(threshold)([talk(*lines)])[0].per_line == per_line


def test_the_verdict_says_which_lines_are_repeated_and_how():
    verdict = Repetition().query(talk("Yes.", "No.", "Yes!"), 2)
    assert (verdict.label, verdict.conflicts, verdict.reason) == ("inconsistent", (0,), "exact")
    near = Repetition(0.5).query(talk("Yes I do.", "Yes I do think so."), 1)
    assert (near.conflicts, near.reason) == ((0,), "near")


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.1, float("nan")])
def test_a_threshold_out_of_range_is_refused(threshold):
    with pytest.raises(ValueError, match=r"Expected threshold in \(0, 1\]"):
        Repetition(threshold)


@given(st.text(max_size=40), st.text(max_size=40))
def test_likeness_is_symmetric_in_range_and_one_of_a_line_with_itself(one, two):
    assert 0.0 <= likeness(one, two) == likeness(two, one) <= 1.0
    assert likeness(one, one) == 1.0
