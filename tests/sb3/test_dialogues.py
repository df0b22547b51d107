"""The adapter on the package's own dialogues, with the embedded model."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import VecMonitor

import persona_env  # noqa: F401
import persona_wrappers
from persona_env.sb3 import KLCallback, as_sb3
from tests.sb3.rollouts import collect, make
from tests.sb3.toys import tiny_llama


def dialogues(**options: Any) -> Any:
    """Eight patients who are paid for true lines, and for every answer to a question after each line."""
    envs = gym.make_vec("persona_env/PatientTokens-v0", num_envs=8, max_lines=2, max_tokens=6, **options)
    weights = {"prompt_to_line": 1.0, "question_answer": 1.0}
    return persona_wrappers.vector.ConsistencyRewards(envs, weights, judge="oracle", every=1)


def test_real_dialogues_with_probes_are_scored_alike_in_rollout_and_update() -> None:
    algorithm = make(dialogues(), "tiny", n_steps=32, batch_size=64)
    contexts = np.stack(collect(algorithm))
    buffer = algorithm.rollout_buffer
    assert buffer.answers.any()
    assert not buffer.answers.all()
    everything = torch.from_numpy(contexts.reshape(-1, contexts.shape[-1]))
    for packed in buffer.batches(64):
        sample = buffer.samples(packed)
        actions = sample.actions.flatten()
        with torch.no_grad():
            _, log_prob, _ = algorithm.policy.evaluate_actions(sample.observations, actions)
            _, naive, _ = algorithm.policy.evaluate_actions(everything[packed.step], actions)
        assert (log_prob - sample.old_log_prob).abs().max() < 1e-5
        assert (naive - log_prob).abs().max() < 1e-5


def test_rewards_and_their_names_reach_the_learner() -> None:
    envs = VecMonitor(as_sb3(dialogues()))
    algorithm = make(envs, "tiny", n_steps=32, batch_size=64, policy_kwargs=dict(reference="initial"))
    seen: set[str] = set()

    class Names(KLCallback):
        def _on_step(self) -> bool:
            seen.update(key for info in self.locals["infos"] for key in info)
            return True

    algorithm.learn(512, callback=Names())
    assert {"consistency/prompt_to_line", "consistency/question_answer", "line", "episode"} <= seen
    assert abs(algorithm.rollout_buffer.kl_to_reference()) > 1e-6


def test_another_models_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="give the environment simulator="):
        make(dialogues(), tiny_llama(20))
