"""Intervals over personas: each is first averaged to one number, as the lines of one persona hang together."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from persona_env.errors import InputError

__all__ = ["Interval", "clustered_mean", "clustered_share", "reduction", "t_interval", "t_quantile", "within"]


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with a two-sided interval (nan where unknown), and the number of personas that it rests on."""

    mean: float
    low: float
    high: float
    n: int


def t_cdf(t: float, df: int) -> float:
    """Returns the probability that a Student t variable with `df` degrees of freedom is at most t.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
    """
    angle, odd = math.atan(t / math.sqrt(df)), df % 2
    j = np.arange(1, (df - odd) // 2)
    series = 1.0 + float(np.cumprod((2 * j + odd - 1) / (2 * j + odd) * math.cos(angle) ** 2).sum())
    if not odd:
        return (1.0 + math.sin(angle) * series) / 2
    rest = math.sin(angle) * math.cos(angle) * series if df > 1 else 0.0
    return 0.5 + (angle + rest) / math.pi


@lru_cache(maxsize=1024)
def t_quantile(p: float, df: int) -> float:
    """Returns the t below which a Student t variable falls with probability p in (0, 1).

    By bisection on `t_cdf`; right to 11 digits up to a thousand degrees of freedom.
    """
    if not 0.0 < p < 1.0 or not df > 0.0:
        raise InputError(f"Expected p in (0, 1) and df > 0, got {p} and {df}: 0.975 is the usual p.")
    if p < 0.5:
        return -t_quantile(1.0 - p, df)
    low, high = 0.0, 1.0
    while t_cdf(high, df) < p:
        low, high = high, 2 * high
    while high - low > 1e-13 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if t_cdf(middle, df) < p else (low, middle)
    return (low + high) / 2


def _around(mean: float, residuals: NDArray[np.float64], level: float) -> Interval:
    """Returns the t interval around a mean whose independent units have these residuals."""
    if not 0.0 < level < 1.0:
        raise InputError(f"Expected level in (0, 1), got {level}: 0.95 is usual.")
    k = len(residuals)
    if k < 2:
        return Interval(mean, math.nan, math.nan, k)
    error = math.sqrt(float(residuals @ residuals) / (k - 1) / k)
    half = t_quantile((1 + level) / 2, k - 1) * error
    return Interval(mean, mean - half, mean + half, k)


def t_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Returns the mean of independent values with its t interval; nan values are left out."""
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    if not len(known):
        return Interval(math.nan, math.nan, math.nan, 0)
    mean = float(known.mean())
    return _around(mean, known - mean, level)


def cluster_means(values: Sequence[float], clusters: Sequence[Hashable]) -> dict[Hashable, float]:
    """Returns the mean of the values of each cluster, leaving out nan, in order of appearance."""
    if len(values) != len(clusters):
        raise InputError(f"Expected {len(values)} clusters, one per value, got {len(clusters)}: name each one's.")
    members: dict[Hashable, list[float]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        if not math.isnan(value):
            members.setdefault(cluster, []).append(value)
    return {cluster: math.fsum(group) / len(group) for cluster, group in members.items()}


def clustered_mean(values: Sequence[float], clusters: Sequence[Hashable], level: float = 0.95) -> Interval:
    """Returns the mean over clusters (the persona of each value), all of one weight, with its t interval.

    Source: Cameron and Miller, "A Practitioner's Guide to Cluster-Robust Inference" (2015), section 2.

    >>> clustered_mean([1.0, 0.0, 1.0, 1.0], ["ann", "ann", "bo", "bo"]).mean
    0.75
    """
    return t_interval(list(cluster_means(values, clusters).values()), level)


def within(interval: Interval, lowest: float = 0.0, highest: float = 1.0, level: float = 0.95) -> Interval:
    """Returns the interval of a statistic with a range, cut to that range and never certain of its ends.

    Where nobody has a fault the residuals are 0, and an interval made of them would claim certainty. The other end is
    then the exact binomial bound for k personas of k without a fault, (1 - level) / 2 to the power of 1 / k, stretched
    to the range; likewise where everybody has nothing but faults. Unknown ends stay unknown.

    Source: Clopper and Pearson, "The Use of Confidence or Fiducial Limits" (1934).

    >>> interval = within(Interval(1.0, 1.0, 1.0, 10))
    >>> round(interval.low, 4), interval.high
    (0.6915, 1.0)
    """
    if math.isnan(interval.low):
        return interval
    doubt = (highest - lowest) * (1.0 - ((1 - level) / 2) ** (1 / interval.n))
    low = min(interval.low, highest - doubt) if interval.mean == highest else interval.low
    high = max(interval.high, lowest + doubt) if interval.mean == lowest else interval.high
    return Interval(interval.mean, max(lowest, low), min(highest, high), interval.n)


def clustered_share(values: Sequence[float], clusters: Sequence[Hashable], level: float = 0.95) -> Interval:
    """Returns `clustered_mean` of shares, each in [0, 1], with the interval `within` [0, 1]."""
    return within(clustered_mean(values, clusters, level), level=level)


def reduction(
    before: Sequence[float],
    after: Sequence[float],
    clusters: Sequence[Hashable],
    after_clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
) -> Interval:
    """Returns (before - after) / before of two means over the same personas, with its interval.

    A ratio of means r = mean(a_i) / mean(b_i), paired by persona i (n are in both). By the delta method its variance is
    that of the mean of (a_i - r b_i) / mean(b); the interval is Student's t with k - 1 degrees of freedom.

    Before and after are inconsistencies (1 is bad) of dialogues or lines, in [0, 1]; the clusters are the persona of
    each (after: those of before if not given). The reduction is nan where there was nothing to reduce.

    Source: Cochran, Sampling Techniques (3rd edition), section 6.4; Deng et al., arXiv 1803.06336, section 3.

    >>> round(reduction([0.4, 0.6], [0.1, 0.1], ["ann", "bo"]).mean, 12)
    0.8
    """
    old = cluster_means(before, clusters)
    new = cluster_means(after, clusters if after_clusters is None else after_clusters)
    paired = [cluster for cluster in old if cluster in new]
    b = np.array([old[cluster] for cluster in paired], np.float64)
    a = np.array([new[cluster] for cluster in paired], np.float64)
    if not len(paired) or b.mean() == 0.0:
        return Interval(math.nan, math.nan, math.nan, len(paired))
    ratio = float(a.mean() / b.mean())
    return _around(1.0 - ratio, (a - ratio * b) / b.mean(), level)
