"""The leash: where it holds to, and that a leash that does not hold is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.callbacks import BaseCallback

from persona_env.sb3 import KLCallback
from persona_env.sb3.kl import kl_to_reference
from tests.sb3.rollouts import collect, make
from tests.sb3.toys import Bandit, ToyDialogues, tiny_llama

REWARDS = np.array([0.0, 0.0, 0.0, 0.2, 0.4, 0.6, 1.0])
BETA = 0.3


class Logged(BaseCallback):
    """Keeps what was logged under a name."""

    def __init__(self, name: str):
        super().__init__()
        self.name, self.seen = name, list[float]()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        if self.name in self.logger.name_to_value:
            self.seen.append(float(self.logger.name_to_value[self.name]))


def distribution(policy: Any, logits: Any = None) -> torch.Tensor:
    context = torch.tensor([[2, 0, 0, 0]])
    with torch.enable_grad():
        return policy.get_distribution(context).distribution.probs[0].detach()


def trained_on_the_bandit(algorithm: Any, steps: int = 20_000, **options: Any) -> tuple[torch.Tensor, torch.Tensor]:
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
        policy_kwargs=dict(reference="initial", **options.pop("policy_kwargs", {})),
        **(settings | options),
    )
    reference = distribution(made.policy)
    made.learn(steps)
    return distribution(made.policy), reference


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [
        (PPO, dict(rollout_buffer_kwargs=dict(kl_coef=BETA))),
        (A2C, dict(rollout_buffer_kwargs=dict(kl_coef=BETA))),
        (PPO, dict(rollout_buffer_kwargs=dict(leash="loss"), ent_coef=BETA)),
    ],
)
def test_the_leash_ends_where_reward_and_distance_balance(algorithm: Any, options: dict[str, Any]) -> None:
    """The optimum of E[r] - beta KL(pi || ref) is ref * exp(r / beta), up to its sum."""
    got, reference = trained_on_the_bandit(algorithm, **options)
    want = reference * torch.exp(torch.from_numpy(REWARDS).float() / BETA)
    want /= want.sum()
    assert 0.5 * float((reference - want).abs().sum()) > 0.1  # it had to move
    assert 0.5 * float((got - want).abs().sum()) < 0.04


def test_without_a_leash_the_policy_goes_where_the_reward_is() -> None:
    got, _ = trained_on_the_bandit(PPO, rollout_buffer_kwargs=dict(kl_coef=0.0))
    assert got[6] > 0.95


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(ent_coef=0.0, normalize_advantage=False), "ent_coef > 0"),
        (dict(ent_coef=0.1, normalize_advantage=True), "normalize_advantage=False"),
    ],
)
@pytest.mark.parametrize("algorithm", [PPO, A2C])
@pytest.mark.parametrize("callback", [None, KLCallback])
def test_a_leash_in_the_loss_that_cannot_hold_is_refused(
    options: dict[str, Any], message: str, algorithm: Any, callback: Any
) -> None:
    """With the callback before the first step; without it in the first update."""
    made = make(
        ToyDialogues(4),
        tiny_llama(),
        algorithm,
        policy_kwargs=dict(reference="initial"),
        rollout_buffer_kwargs=dict(leash="loss"),
        **options,
    )
    with torch.no_grad():  # at the reference itself the KL has no gradient; its weight is seen all the same
        made.policy.lm.get_output_embeddings().weight.mul_(1.2)
    with pytest.raises(ValueError, match=message):
        made.learn(256, callback=callback() if callback else None)
    assert made.num_timesteps == (0 if callback else 128)


@pytest.mark.parametrize("algorithm", [PPO, A2C])
def test_a_leash_in_the_loss_that_holds_is_not_refused(algorithm: Any) -> None:
    made = make(
        ToyDialogues(4, asks=2),
        tiny_llama(),
        algorithm,
        policy_kwargs=dict(reference="initial"),
        rollout_buffer_kwargs=dict(leash="loss"),
        ent_coef=0.1,
        normalize_advantage=False,
    )
    made.learn(512)
    assert made.logger.name_to_value["train/entropy_loss"] > 0  # a KL, not an entropy


def test_the_callback_logs_the_distance_that_the_rollout_had() -> None:
    made = make(ToyDialogues(4), tiny_llama(), policy_kwargs=dict(reference="initial"), learning_rate=1e-2)
    logged = Logged("train/kl_to_reference")
    made.learn(128 * 8, callback=[KLCallback(), logged])
    assert len(logged.seen) == 8
    assert abs(logged.seen[0]) < 1e-5
    assert logged.seen[-1] > 1e-3


def test_the_callback_wants_a_reference() -> None:
    with pytest.raises(ValueError, match="policy with a reference"):
        make(ToyDialogues(4), tiny_llama()).learn(128, callback=KLCallback())


def test_the_full_kl_is_the_sum_over_the_vocabulary() -> None:
    """.5 log(.5/.25) + .5 log(.5/.75) = .5 log(4/3)."""
    got = kl_to_reference(
        torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.25, 0.75]]).log(), torch.zeros(1), torch.tensor([0])
    )
    assert got.item() == pytest.approx(0.5 * np.log(4 / 3))


def test_forbidden_tokens_add_nothing_to_the_kl() -> None:
    low = torch.finfo().min
    policy = torch.tensor([[0.0, 1.0, low]], requires_grad=True)
    logs = policy.log_softmax(-1)
    kl_to_reference(
        logs, torch.tensor([[1.0, 0.0, low]]).log_softmax(-1), logs[:, 0], torch.tensor([0])
    ).sum().backward()
    assert policy.grad is not None
    assert policy.grad.isfinite().all()
    assert policy.grad[0, 2] == 0


def test_a_large_vocabulary_is_held_by_half_the_squared_log_ratio() -> None:
    """k2's expected gradient is the KL's: 2 tokens matter, the other 40,000 have no mass."""
    logits = torch.full((1, 40_000), torch.finfo().min)
    logits[0, :2] = torch.tensor([0.3, -0.4])
    logits.requires_grad_()
    reference = torch.full((1, 40_000), torch.finfo().min)
    reference[0, :2] = torch.tensor([-0.2, 0.5])
    reference = reference.log_softmax(-1)
    logs = logits.log_softmax(-1)
    probabilities = logs[0, :2].exp().detach()
    expected = sum(
        probabilities[i] * kl_to_reference(logs, reference, logs[:, i], torch.tensor([i])).sum() for i in range(2)
    )
    assert isinstance(expected, torch.Tensor)
    (got,) = torch.autograd.grad(expected, logits, retain_graph=True)
    full = (logs[0, :2].exp() * (logs[0, :2] - reference[0, :2])).sum()
    (want,) = torch.autograd.grad(full, logits)
    assert torch.allclose(got[0, :2], want[0, :2], atol=1e-6)


class Adapted(torch.nn.Module):
    """A model with a low-rank adapter on its output layer, with the interface of `peft.PeftModel`."""

    def __init__(self, base: Any):
        super().__init__()
        self.base, self.config, self.enabled = base.requires_grad_(False), base.config, True
        width = base.config.hidden_size
        self.down = torch.nn.Parameter(torch.randn(2, width))
        self.up = torch.nn.Parameter(torch.zeros(base.config.vocab_size, 2))
        base.lm_head.register_forward_hook(self._adapt)

    def _adapt(self, module: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
        return output + args[0] @ self.down.T @ self.up.T if self.enabled else output

    def get_base_model(self) -> Any:
        return self.base

    def get_output_embeddings(self) -> Any:
        return self.base.get_output_embeddings()

    def disable_adapter(self) -> Any:
        import contextlib

        @contextlib.contextmanager
        def disabled() -> Any:
            self.enabled = False
            try:
                yield
            finally:
                self.enabled = True

        return disabled()


def test_with_adapters_the_reference_is_the_model_without_them() -> None:
    base = tiny_llama()
    model = Adapted(base)
    made = make(ToyDialogues(4), model, policy_kwargs=dict(reference="initial"), learning_rate=1e-2)
    assert made.policy.reference.model is model
    before = base.model.embed_tokens.weight.clone()
    trained = {id(parameter) for parameter in made.policy.optimizer.param_groups[0]["params"]}
    assert id(base.model.embed_tokens.weight) not in trained
    made.learn(128 * 4)
    assert torch.equal(base.model.embed_tokens.weight, before)
    assert float(model.up.detach().abs().max()) > 0
    collect(made)
    assert made.rollout_buffer.kl_to_reference() > 0
    for sample in made.rollout_buffer.get(32):
        _, log_prob, _ = made.policy.evaluate_actions(sample.observations, sample.actions.flatten())
        assert float((log_prob - sample.old_log_prob).detach().abs().max()) < 1e-5
