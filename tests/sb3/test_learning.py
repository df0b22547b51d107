"""Learning itself: stock PPO and A2C, a tiny random model, a threshold that must be reached."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecMonitor

from persona_env.sb3 import as_sb3
from tests.sb3.rollouts import make
from tests.sb3.toys import CopyFirst, ToyDialogues, tiny_llama


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algorithm", "tokens", "options"),
    [(PPO, 8_192, dict(n_steps=32, batch_size=256, n_epochs=2)), (A2C, 16_384, dict(n_steps=8, ent_coef=0.01))],
)
def test_a_random_model_learns_to_say_what_it_heard(algorithm: Any, tokens: int, options: dict[str, Any]) -> None:
    """Said at random, a line is right once in 7; a dialogue has 4 lines."""
    made = make(CopyFirst(), tiny_llama(8, width=16, scale=0.3), algorithm, learning_rate=3e-3, **options)
    made.learn(tokens)
    mean, _ = evaluate_policy(made.policy, VecMonitor(as_sb3(CopyFirst(8))), n_eval_episodes=32)
    assert float(np.mean(mean)) > 3.4


@pytest.mark.slow
def test_answers_to_probes_are_learned_along_with_the_dialogue() -> None:
    made = make(
        ToyDialogues(32, asks=2, lines=2, vocabulary=10, answer_reward=2.0, max_tokens=2),
        tiny_llama(10, scale=0.3),
        n_steps=32,
        batch_size=256,
        learning_rate=5e-3,
        rollout_buffer_kwargs=dict(line_gamma=0.0),
    )
    made.learn(1024 * 13)
    buffer = made.rollout_buffer
    first_words = buffer.answers & ~np.roll(buffer.answers, 1, axis=0)
    assert (buffer.actions[..., 0][first_words] == 2).mean() > 0.8  # the right answer
    others = buffer.actions[..., 0][~buffer.answers]
    assert (others % 2 == 0).mean() > 0.9  # even tokens are paid in lines
    assert (others == 2).mean() < 0.95
