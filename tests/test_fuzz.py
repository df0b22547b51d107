"""Whatever is read ends in an answer or in one line that says what was expected.

100 inputs for each reader; by hand: PERSONA_ENV_FUZZ=10000 python -m pytest tests/test_fuzz.py
"""

import pytest

from tests.reliability.doors import DOORS
from tests.reliability.r15_fuzz import EXAMPLES, fault, fuzzed


@pytest.mark.parametrize("name", DOORS)
def test_hostile_input_ends_in_an_answer_or_in_one_line(name: str):
    assert not [wrong for sample in DOORS[name].samples if (wrong := fault(DOORS[name], sample))]
    assert not fuzzed(name, EXAMPLES // 5)


def test_there_are_readers_enough():
    assert len(DOORS) >= 12
