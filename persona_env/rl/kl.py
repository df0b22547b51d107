"""KL divergence from a reference model: the exact sum over the vocabulary, and an estimate from sampled tokens.

Source: Schulman, "Approximating KL Divergence" (2020), for the names k1 to k3.
"""

from __future__ import annotations

from torch import Tensor

__all__ = ["k2", "kl_divergence"]


def kl_divergence(log_probs: Tensor, reference: Tensor) -> Tensor:
    """Returns KL(pi || ref) of each choice, (A,), in nats, from log-probabilities of the whole vocabulary, (A, V).

    >>> import torch
    >>> round(kl_divergence(torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.25, 0.75]]).log()).item(), 4)
    0.1438
    """
    return (log_probs.exp() * (log_probs - reference)).sum(-1)


def k2(log_probs: Tensor, reference: Tensor) -> Tensor:
    """Returns half the squared log-ratio of each sampled token, (A,), from its two log-probabilities, (A,).

    As a loss it has the gradient of KL(pi || ref) in expectation; k1's expected gradient is 0, and k3's is that of
    KL(ref || pi).
    """
    return (log_probs - reference).square() / 2
