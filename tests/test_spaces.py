import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector.utils import batch_space
from hypothesis import given
from hypothesis import strategies as st

from persona_env.spaces import TokenContext, Utterance


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_any_unicode_line_of_the_right_length_is_an_utterance(text):
    assert Utterance(20).contains(text)


@pytest.mark.parametrize("x", ["12345", "\ud800", 3, None, b"abc", ["a"]])
def test_what_is_too_long_or_no_text_is_no_utterance(x):
    assert not Utterance(4).contains(x)


def test_samples_are_utterances_and_follow_the_seed():
    space = Utterance(30, min_length=3)
    space.seed(4)
    first = [space.sample() for _ in range(50)]
    space.seed(4)
    assert first == [space.sample() for _ in range(50)]
    assert all(map(space.contains, first))
    lengths = {len(text) for text in first}
    assert 3 <= min(lengths) < 8 < 25 < max(lengths) <= 30


def test_an_utterance_space_survives_pickling_flattening_and_batching():
    space = Utterance(12)
    assert pickle.loads(pickle.dumps(space)) == space != Utterance(13)
    flat = gym.spaces.flatten(space, "Ça va 😀")
    assert gym.spaces.unflatten(space, flat) == "Ça va 😀"
    assert batch_space(space, 2).contains(("Ça va", ""))


def test_a_token_context_is_padded_on_the_right():
    space = TokenContext(vocabulary=10, context=4, pad_id=7)
    assert space.padded([1, 2]).tolist() == [1, 2, 7, 7]
    assert space.contains(space.padded([1, 2, 3, 4]))
    assert not space.contains(np.array([1, 2, 10, 7], np.int32))
    assert space.lengths(np.stack([space.padded([]), space.padded([5, 0, 5])])).tolist() == [0, 3]
    batch = batch_space(space, 3)
    assert (batch.shape, batch.dtype) == ((3, 4), np.int32)
