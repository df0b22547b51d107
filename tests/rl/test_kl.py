"""KL estimators, against numbers worked by hand and against each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from persona_env.rl import k2, kl_divergence

LOWEST = torch.finfo().min


def test_golden_kl_is_the_sum_over_the_vocabulary() -> None:
    """.5 log(.5/.25) + .5 log(.5/.75) = .5 log(4/3)."""
    got = kl_divergence(torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.25, 0.75]]).log())
    assert got.tolist() == pytest.approx([0.5 * np.log(4 / 3)])


def test_golden_k2_is_half_the_squared_log_ratio() -> None:
    assert k2(torch.tensor([-1.0, -2.0]), torch.tensor([-3.0, -2.0])).tolist() == [2, 0]


def test_forbidden_tokens_add_nothing_to_the_kl() -> None:
    policy = torch.tensor([[0.0, 1.0, LOWEST]], requires_grad=True)
    reference = torch.tensor([[1.0, 0.0, LOWEST]]).log_softmax(-1)
    kl_divergence(policy.log_softmax(-1), reference).sum().backward()
    assert policy.grad is not None
    assert policy.grad.isfinite().all()
    assert policy.grad[0, 2] == 0


def test_the_expected_gradient_of_k2_is_that_of_the_kl() -> None:
    logits = torch.tensor([[0.3, -0.4, LOWEST]], requires_grad=True)
    reference = torch.tensor([[-0.2, 0.5, LOWEST]]).log_softmax(-1)
    log_probs = logits.log_softmax(-1)
    weights = log_probs[0].exp().detach()
    (got,) = torch.autograd.grad(
        (weights[:2] * k2(log_probs[0, :2], reference[0, :2])).sum(), logits, retain_graph=True
    )
    (want,) = torch.autograd.grad(kl_divergence(log_probs, reference).sum(), logits)
    assert torch.allclose(got, want, atol=1e-6)
