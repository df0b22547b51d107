"""How well a judge agrees with labels, with intervals over personas, and labellers with each other.

True is consistent. Verdicts that decide nothing are settled before: `calibration` makes invalid ones the opposite of
the label, and leaves undecided ones out.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from persona_env.errors import InputError
from persona_env.metrics.statistics import Interval, clustered_share, t_quantile

__all__ = ["Agreement", "accuracy", "alpha", "auroc", "balanced_accuracy", "kappa", "over_personas"]

Bools: TypeAlias = NDArray[np.bool_]
Values: TypeAlias = NDArray[np.float64]
Labels: TypeAlias = Sequence[bool] | Bools
Said: TypeAlias = Sequence[float] | Values
Agreement: TypeAlias = Callable[[Labels, Said], float]
"""A statistic of labels and of what a judge says about them: verdicts as 0 and 1, or probabilities."""


def _arrays(truth: Labels, said: Said) -> tuple[Bools, Values]:
    right: Bools = np.asarray(truth, np.bool_)
    given: Values = np.asarray(said, np.float64)
    if right.shape != given.shape or right.ndim != 1:
        raise InputError(f"Expected {right.size} verdicts, one for each label, got {given.size}: pair them.")
    if np.isnan(given).any():
        raise InputError("Expected a number for each label, got nan: settle invalid verdicts first.")
    return right, given


def accuracy(truth: Labels, said: Said) -> float:
    """Returns the share of verdicts that are the label, in [0, 1]; nan where there is none."""
    right, given = _arrays(truth, said)
    return float((right == (given > 0.5)).mean()) if len(right) else math.nan


def balanced_accuracy(truth: Labels, said: Said) -> float:
    """Returns the mean of the accuracies on the two classes, in [0, 1]; nan where a class is missing.

    Whoever always says the same has exactly 0.5, however rare a class is.

    Source: Brodersen et al., "The Balanced Accuracy and Its Posterior Distribution" (2010), section II.
    """
    right, given = _arrays(truth, said)
    if right.all() or not right.any():
        return math.nan
    verdict = given > 0.5
    return float((verdict[right].mean() + (~verdict[~right]).mean()) / 2)


def kappa(truth: Labels, said: Said) -> float:
    """Returns Cohen's kappa, in [-1, 1]: agreement beyond what the two habits alone would give.

    (p_o - p_e) / (1 - p_e) with p_o the share of equal answers, p_e that expected; nan where p_e is 1.

    Source: Cohen, "A Coefficient of Agreement for Nominal Scales" (1960).

    >>> round(kappa([True, True, False, False], [1, 1, 1, 0]), 12)  # (.75 - .5) / (1 - .5)
    0.5
    """
    right, given = _arrays(truth, said)
    if not len(right):
        return math.nan
    verdict = given > 0.5
    n, p, q = len(right), int(right.sum()), int(verdict.sum())
    chance = p * q + (n - p) * (n - q)  # whole numbers: a constant judge has exactly 0
    return math.nan if chance == n * n else (n * int((right == verdict).sum()) - chance) / (n * n - chance)


def auroc(truth: Labels, said: Said) -> float:
    """Returns the area under the ROC curve, in [0, 1]; nan where a class is missing.

    The chance that a consistent item has a higher probability than an inconsistent one; a tie counts half.

    Source: Hanley and McNeil, "The Meaning and Use of the Area under a ROC Curve" (1982).

    >>> auroc([True, True, False, False], [0.9, 0.4, 0.4, 0.1])  # of 4 pairs 3 in order, 1 tied
    0.875
    """
    right, given = _arrays(truth, said)
    positives = int(right.sum())
    pairs = positives * (len(right) - positives)
    if not pairs:
        return math.nan
    _, place = np.unique(given, return_inverse=True)
    size = int(place.max()) + 1
    good = np.bincount(place[right], minlength=size).astype(np.float64)
    bad = np.bincount(place[~right], minlength=size).astype(np.float64)
    below = np.cumsum(bad) - bad
    return float(good @ (below + bad / 2) / pairs)


def alpha(units: Iterable[Sequence[Hashable]]) -> float:
    """Returns Krippendorff's alpha for names without order, in [-1, 1]; nan where nothing can be compared.

    1 - (observed disagreement) / (disagreement expected by chance), over all pairs of answers within a unit. A unit
    holds the answers that an item was given, by any number of labellers; fewer than two are passed over.

    Source: Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section C.
    """
    observed, totals = 0.0, Counter[Hashable]()
    for unit in units:
        if len(unit) < 2:
            continue
        counts = Counter(unit)
        totals.update(counts)
        equal = sum(count * (count - 1) for count in counts.values())
        observed += (len(unit) * (len(unit) - 1) - equal) / (len(unit) - 1)
    n = totals.total()
    expected = n * n - sum(count * count for count in totals.values())
    return 1.0 - (n - 1) * observed / expected if expected else math.nan


def over_personas(
    statistic: Agreement,
    truth: Labels,
    said: Said,
    personas: Sequence[Hashable],
    *,
    lowest: float = 0.0,
    level: float = 0.95,
) -> Interval:
    """Returns a statistic over all items, in [lowest, 1], with a jackknife interval over personas, n in number.

    The accuracy is a share: its limits are as far from it as those of `clustered_share` from the mean of the personas.
    For the others each persona is left out once with all its items, which hang together, and Student's t with k - 1
    degrees of freedom is taken around the statistic of all items. A cluster bootstrap would need a seed and thousands
    of recomputations, and is too narrow with the few personas that labels come from. A perfect (or perfectly wrong)
    figure is not certain: its other end is that of a perfect share of as many items, stretched. The ends are nan below
    two personas, and where the rest without one of them has no such statistic.

    Source: Efron and Stein, "The Jackknife Estimate of Variance" (1981); Obuchowski, "Nonparametric Analysis of
    Clustered ROC Curve Data" (1997).

    >>> interval = over_personas(accuracy, [True] * 4, [1, 0, 1, 1], ["ann", "ann", "bo", "cy"])
    >>> interval.mean, interval.n
    (0.75, 3)
    """
    right, given = _arrays(truth, said)
    if len(personas) != len(right):
        raise InputError(f"Expected {len(right)} personas, one for each label, got {len(personas)}: name each one's.")
    number = {persona: place for place, persona in enumerate(dict.fromkeys(personas))}
    whose = np.array([number[persona] for persona in personas], np.int64)
    k, value = len(number), statistic(right, given)
    unknown = Interval(value, math.nan, math.nan, k)
    if k < 2 or math.isnan(value):
        return unknown
    if statistic is accuracy:
        share = clustered_share((right == (given > 0.5)).astype(float).tolist(), personas, level=level)
        limits = share.low - share.mean, share.high - share.mean
        return Interval(value, max(0.0, value + limits[0]), min(1.0, value + limits[1]), k)
    rest = np.array([statistic(right[whose != one], given[whose != one]) for one in range(k)])
    if np.isnan(rest).any():
        return unknown
    error = math.sqrt((k - 1) / k * float(np.sum((rest - rest.mean()) ** 2)))
    half = t_quantile((1 + level) / 2, k - 1) * error
    doubt = (1 - lowest) * (1 - clustered_share([1.0] * len(right), personas, level=level).low)
    low = min(value - half, 1 - doubt) if value == 1 else value - half
    high = max(value + half, lowest + doubt) if value == lowest else value + half
    return Interval(value, max(lowest, low), min(1.0, high), k)
