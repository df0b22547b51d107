"""The core of the reward wrappers: what it refuses."""

import pytest

import persona_wrappers as pw
from tests.wrappers.playing import gym_env


@pytest.mark.parametrize(
    ("weight", "remedy"),
    [
        (float("nan"), "got nan: give a finite number"),
        (float("inf"), "got inf: give a finite number"),
        (float("-inf"), "got -inf: give a finite number"),
        (-0.5, "got -0.5: a penalty has its sign already"),
    ],
)
def test_a_weight_that_cannot_be_is_refused_with_its_own_remedy(weight: float, remedy: str):
    with pytest.raises(ValueError, match=r"^Expected weight >= 0 for repetition, ") as refused:
        pw.RepetitionPenalty(gym_env(), weight=weight)
    assert remedy in str(refused.value)
