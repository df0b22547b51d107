"""The adapter on the package's own dialogues, with the embedded model."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from stable_baselines3.common.vec_env import VecMonitor

import persona_env  # noqa: F401
import persona_wrappers
from persona_env.sb3 import KLCallback, as_sb3
from tests.sb3.rollouts import make
from tests.sb3.test_policy import compared


def dialogues(**options: Any) -> Any:
    """Eight patients, rewarded for consistent lines and for the answer to a probe after each line."""
    envs = gym.make_vec("persona_env/PatientTokens-v0", num_envs=8, max_lines=2, max_tokens=6, **options)
    weights = {"prompt_to_line": 1.0, "question_answer": 1.0}
    return persona_wrappers.vector.ConsistencyRewards(envs, weights, judge="oracle", every=1)


def test_real_dialogues_with_probes_are_scored_alike_in_rollout_and_update() -> None:
    algorithm = make(dialogues(), "tiny", n_steps=32, batch_size=64)
    worst = compared(algorithm, 64)
    answers = algorithm.rollout_buffer.answers
    assert answers.any()
    assert not answers.all()
    assert max(worst["packed"], worst["naive"]) < 1e-5, worst


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
