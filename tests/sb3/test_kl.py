"""The KL penalty in training: where it leads, what is logged, and which settings are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, PPO

from persona_env.errors import InputError
from persona_env.sb3 import KLCallback
from tests.sb3.rollouts import make
from tests.sb3.toys import Bandit, ToyDialogues, tiny_llama

REWARDS = np.array([0.0, 0.0, 0.0, 0.2, 0.4, 0.6, 1.0])
BETA = 0.3


def distribution(policy: Any) -> torch.Tensor:
    context = torch.tensor([[2, 0, 0, 0]])
    with torch.enable_grad():
        return policy.get_distribution(context).distribution.probs[0].detach()


def trained_on_the_bandit(algorithm: Any, **options: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Trains; returns the policy and the reference, as distributions of the one token."""
    settings: dict[str, Any] = dict(n_steps=4, normalize_advantage=False, max_grad_norm=1e9)
    if algorithm is PPO:
        settings |= dict(batch_size=256)
    rate = 0.02 if algorithm is PPO else 0.005  # A2C's RMSprop takes full steps from the first
    made = make(
        Bandit(REWARDS),
        tiny_llama(len(REWARDS), width=8, scale=0.5),
        algorithm,
        learning_rate=lambda left: rate * left,
        policy_kwargs=dict(reference="initial"),
        **(settings | options),
    )
    reference = distribution(made.policy)
    return distribution(made.learn(20_000).policy), reference


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algorithm", "options"),
    [
        (PPO, dict(rollout_buffer_kwargs=dict(kl_coef=BETA))),
        (A2C, dict(rollout_buffer_kwargs=dict(kl_coef=BETA))),
        (PPO, dict(rollout_buffer_kwargs=dict(kl_in="loss"), ent_coef=BETA)),
    ],
)
def test_training_ends_where_reward_and_kl_balance(algorithm: Any, options: dict[str, Any]) -> None:
    """The optimum of E[r] - beta KL(pi || ref) is ref * exp(r / beta), up to its sum."""
    got, reference = trained_on_the_bandit(algorithm, **options)
    want = reference * torch.exp(torch.from_numpy(REWARDS).float() / BETA)
    want /= want.sum()
    assert 0.5 * float((reference - want).abs().sum()) > 0.1  # it had to move
    assert 0.5 * float((got - want).abs().sum()) < 0.04


def with_kl_in_loss(algorithm: Any, **options: Any) -> Any:
    buffer, policy = dict(kl_in="loss"), dict(reference="initial")
    envs = ToyDialogues(4, asks=2)
    return make(envs, tiny_llama(), algorithm, rollout_buffer_kwargs=buffer, policy_kwargs=policy, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(ent_coef=0.0, normalize_advantage=False), "ent_coef > 0"),
        (dict(ent_coef=0.1, normalize_advantage=True), "normalize_advantage=False"),
    ],
)
@pytest.mark.parametrize("algorithm", [PPO, A2C])
def test_settings_that_do_not_fit_a_kl_in_the_loss_are_refused_before_the_first_step(
    algorithm: Any, options: dict[str, Any], message: str
) -> None:
    made = with_kl_in_loss(algorithm, **options)
    with pytest.raises(InputError, match=message):
        made.learn(256, callback=KLCallback())
    assert made.num_timesteps == 0


@pytest.mark.parametrize("algorithm", [PPO, A2C])
def test_with_a_kl_in_the_loss_the_algorithms_entropy_is_the_kl_and_logging_it_changes_nothing(algorithm: Any) -> None:
    made = with_kl_in_loss(algorithm, ent_coef=0.1, normalize_advantage=False)
    made.learn(512, callback=KLCallback())
    assert made.logger.name_to_value["train/entropy_loss"] > 0  # minus an entropy would be negative
    unwatched = with_kl_in_loss(algorithm, ent_coef=0.1, normalize_advantage=False).learn(512)
    assert all(map(torch.equal, made.policy.parameters(), unwatched.policy.parameters()))


def test_the_callback_logs_the_kl_of_each_rollout() -> None:
    seen = []

    class Logged(KLCallback):
        def _on_rollout_end(self) -> None:
            super()._on_rollout_end()
            seen.append(self.logger.name_to_value["train/kl_to_reference"])

    made = make(ToyDialogues(4), tiny_llama(), policy_kwargs=dict(reference="initial"), learning_rate=1e-2)
    made.learn(128 * 8, callback=Logged())
    assert len(seen) == 8
    assert abs(seen[0]) < 1e-5 < 1e-3 < seen[-1]


def test_the_callback_wants_a_reference() -> None:
    with pytest.raises(InputError, match="policy with a reference"):
        make(ToyDialogues(4), tiny_llama()).learn(128, callback=KLCallback())
