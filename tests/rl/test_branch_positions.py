"""A model that counts columns, not places, shares no rows, and its update says what its rollout said."""

from __future__ import annotations

import pytest

from persona_env.rl.shared_prefix_attention import shares_prefixes
from tests.sb3.rollouts import make
from tests.sb3.test_policy import compared
from tests.sb3.toys import ToyDialogues
from tests.speakers.families import built
from tests.speakers.test_kv_cache_positions import llama4


def test_attention_that_sharpens_with_the_place_reads_no_branches() -> None:
    assert not shares_prefixes(built(llama4(128)))
    assert shares_prefixes(built(llama4(128, attn_temperature_tuning=False)))


def test_llama_4s_rollout_update_and_full_forward_agree() -> None:
    made = make(ToyDialogues(4, asks=1, reply=12, vocabulary=120), built(llama4(24)))
    with pytest.warns(UserWarning, match="without a cache"):
        worst = compared(made)
    assert max(worst.values()) < 1e-5, worst
