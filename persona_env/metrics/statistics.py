"""Intervals over personas: each is first averaged to one number, as the lines of one persona hang together."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean, harmonic_mean
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from persona_env.errors import InputError

__all__ = ["Interval", "clustered_mean", "clustered_share", "reduction", "t_interval", "t_quantile", "within"]

Values: TypeAlias = NDArray[np.float64]
Limits: TypeAlias = tuple[Values, Values, Values]  # a statistic, its lower and its upper limit


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


def _t(level: float, k: int) -> float:
    if not 0.0 < level < 1.0:
        raise InputError(f"Expected level in (0, 1), got {level}: 0.95 is usual.")
    return t_quantile((1 + level) / 2, k - 1)


def t_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Returns the mean of independent values with its t interval; nan values are left out."""
    known = np.array([value for value in values if not math.isnan(value)])
    k = len(known)
    mean = float(known.mean()) if k else math.nan
    half = _t(level, k) * float(known.std(ddof=1)) / math.sqrt(k) if k > 1 else math.nan
    return Interval(mean, mean - half, mean + half, k)


def cluster_shares(
    values: Sequence[float], clusters: Sequence[Hashable], lines: Sequence[float] | None = None
) -> dict[Hashable, tuple[float, float]]:
    """Returns the mean of the values of each cluster, leaving out nan, and how many lines it is worth.

    The mean of d shares of n_j lines varies as one of d**2 / sum(1 / n_j) lines; without `lines` each value is one.
    """
    counts = [1] * len(values) if lines is None else lines
    if not len(values) == len(clusters) == len(counts):
        raise InputError(f"Expected {len(values)} clusters, one per value, got {len(clusters)}: name each one's.")
    found: dict[Hashable, list[tuple[float, float]]] = {}
    for value, cluster, count in zip(values, clusters, counts, strict=True):
        if not math.isnan(value):
            found.setdefault(cluster, []).append((value, count))
    return {c: (fmean(v for v, _ in of), len(of) * harmonic_mean([n for _, n in of])) for c, of in found.items()}


def clustered_mean(values: Sequence[float], clusters: Sequence[Hashable], level: float = 0.95) -> Interval:
    """Returns the mean over clusters (the persona of each value), all of one weight, with its t interval.

    Source: Cameron and Miller, "A Practitioner's Guide to Cluster-Robust Inference" (2015), section 2.

    >>> clustered_mean([1.0, 0.0, 1.0, 1.0], ["ann", "ann", "bo", "bo"]).mean
    0.75
    """
    return t_interval([mean for mean, _ in cluster_shares(values, clusters).values()], level)


def within(interval: Interval, lowest: float = 0.0, highest: float = 1.0, level: float = 0.95) -> Interval:
    """Returns the interval of a statistic with a range, cut to that range and never certain of its ends.

    At an end, the other limit is the exact binomial bound for k of k personas, ((1 - level) / 2)**(1 / k), stretched.

    Source: Clopper and Pearson, "The Use of Confidence or Fiducial Limits" (1934).
    """
    if math.isnan(interval.low):
        return interval
    doubt = (highest - lowest) * (1.0 - ((1 - level) / 2) ** (1 / interval.n))
    low = min(interval.low, highest - doubt) if interval.mean == highest else interval.low
    high = max(interval.high, lowest + doubt) if interval.mean == lowest else interval.high
    return Interval(interval.mean, max(lowest, low), min(highest, high), interval.n)


def share_limits(means: Values, lines: Values, level: float = 0.95) -> Limits:
    """Returns the mean share of k personas (the last axis), and the limits of its interval.

    Wilson's score interval for n / D lines, n = k**2 / sum(1 / lines): all x for which |mean - x| is at most
    t * sqrt(D x (1 - x) / n), with Student's t of k - 1 degrees of freedom and the design effect D. That is the one
    observed (1 where all personas are alike) averaged with 2 + (n / k - 1) / 6, at weights of df**2 and up to 12, found
    by simulation. df are the degrees of freedom of a variance, few where few personas make it up. Lines that hang
    together skew the mean as a negative binomial, whose variance rises 2 - 1 / D times as fast with x: the wider holds.

    Source: Wilson, "Probable Inference" (1927); n / D: Korn and Graubard, "Confidence Intervals for Proportions with
    Small Expected Number of Positive Counts" (1998); df: O'Neill, "Some Useful Moment Results in Sampling" (2014).
    """
    k, mean = int(means.shape[-1]), means.mean(-1)
    n = k * k / (1 / lines).sum(-1)
    alike: NDArray[np.bool_] = means.max(-1) - means.min(-1) < 1e-9
    deviations: Values = means - mean[..., None]
    deviations[alike] = np.eye(k)[0] - 1 / k
    squares, fourths = (deviations**2).sum(-1), (deviations**4).sum(-1)
    df = np.minimum(k - 1, 2 / (fourths / squares**2 - (k - 3) / (k * (k - 1))))
    of_lines = alike * squares + ~alike * mean * (1 - mean) * k * (k - 1) / n
    observed, weight = squares / of_lines, 12 * (1 - df / (k - 1))
    effect = (weight * (2 + (n / k - 1) / 6) + df**2 * observed) / (weight + df**2)
    h = _t(level, k) ** 2 * effect / n / 2
    low = high = mean
    for slope in (1.0, 2 - 1 / np.maximum(observed, 1.0)):
        shift = h * slope * (1 - 2 * mean)
        root = np.sqrt(shift**2 + 2 * h * (1 + 2 * h) * mean * (1 - mean))
        low = np.minimum(low, mean + (shift - root) / (1 + 2 * h))
        high = np.maximum(high, mean + (shift + root) / (1 + 2 * h))
    return mean, np.maximum(low, 0.0), np.minimum(high, 1.0)


def clustered_share(
    values: Sequence[float], clusters: Sequence[Hashable], lines: Sequence[float] | None = None, level: float = 0.95
) -> Interval:
    """Returns `clustered_mean` of shares in [0, 1] of so many lines each (1 if not given), with `share_limits`."""
    found = sorted(cluster_shares(values, clusters, lines).values())
    if len(found) < 2:
        return t_interval([mean for mean, _ in found])
    means, counts = np.array(found).T
    return Interval(*map(float, share_limits(means, counts, level)), n=len(found))


def reduction_limits(before: Values, after: Values, lines: Values, after_lines: Values, level: float = 0.95) -> Limits:
    """Returns 1 - after / before of the mean shares of the same personas (last axis), and the limits of its interval.

    A limit of a / b is the R for which |a - R b| is sqrt(x**2 + (R y)**2 - 2 r R x y): x and y are the distances of a
    and b from limits of their own (a's upper and b's lower, or the other way round), r their correlation over personas.

    Source: Donner and Zou, "Closed-form Confidence Intervals for Functions of the Normal Mean" (2012), on ratios.
    """
    (b, b_low, b_high), (a, a_low, a_high) = share_limits(before, lines, level), share_limits(after, after_lines, level)
    of_b, of_a = before - b[..., None], after - a[..., None]
    scale = np.sqrt((of_b**2).sum(-1) * (of_a**2).sum(-1))
    r = np.minimum((of_b * of_a).sum(-1) / np.maximum(scale, 1e-18), 0.999)  # else the width of equal arms could be 0
    x, y = np.array([a_high - a, a - a_low]), np.array([b - np.maximum(b_low, 1e-6), b_high - b])
    middle = a * b - r * x * y
    root = middle + np.sqrt(np.maximum(middle**2 - (a**2 - x**2) * (b**2 - y**2), 0.0))
    most, least = root[0] / (b**2 - y[0] ** 2), (a**2 - x[1] ** 2) / np.where(a_low > 0, root[1], 1.0)
    return 1 - a / b, 1 - np.maximum(most, a / b), 1 - np.minimum(least, a / b)


def reduction(
    before: Sequence[float],
    after: Sequence[float],
    clusters: Sequence[Hashable],
    after_clusters: Sequence[Hashable] | None = None,
    lines: Sequence[float] | None = None,
    after_lines: Sequence[float] | None = None,
    level: float = 0.95,
) -> Interval:
    """Returns (before - after) / before of two means over the personas that are in both, with `reduction_limits`.

    Before and after are inconsistencies (1 is bad), in [0, 1], of dialogues or lines; the clusters are the persona of
    each (after: those of before if not given), the lines as in `clustered_share`. Nothing to reduce: nan.
    """
    old = cluster_shares(before, clusters, lines)
    new = cluster_shares(after, clusters if after_clusters is None else after_clusters, after_lines)
    paired = sorted((*old[cluster], *new[cluster]) for cluster in old if cluster in new)
    b, b_lines, a, a_lines = np.array(paired).reshape(-1, 4).T
    if len(b) < 2 or not b.any():
        return Interval(float(1 - a[0] / b[0]) if b.any() else math.nan, math.nan, math.nan, len(b))
    return Interval(*map(float, reduction_limits(b, a, b_lines, a_lines, level)), n=len(b))
