import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_env.metrics.statistics import (
    cluster_means,
    clustered_mean,
    clustered_share,
    reduction,
    t_cdf,
    t_interval,
    t_quantile,
)


def half_width(interval):
    return (interval.high - interval.low) / 2


# Standard tables of Student's t (Abramowitz and Stegun, table 26.10): p, df, t.
TABLE = [
    *((0.975, 1, 12.7062), (0.975, 2, 4.3027), (0.975, 3, 3.1824), (0.975, 5, 2.5706), (0.975, 10, 2.2281)),
    *((0.975, 30, 2.0423), (0.975, 120, 1.9799), (0.95, 9, 1.8331), (0.90, 15, 1.3406), (0.9995, 4, 8.6103)),
]


@pytest.mark.parametrize(("p", "df", "t"), TABLE)
def test_the_t_quantile_is_that_of_the_tables(p, df, t):
    assert t_quantile(p, df) == pytest.approx(t, abs=5.1e-5)


def test_with_many_degrees_of_freedom_the_quantile_is_the_normal_one():
    # z + (z**3 + z) / (4 df), Abramowitz and Stegun 26.7.5
    assert t_quantile(0.975, 10**6) == pytest.approx(1.959963985 + 2.3723e-6, abs=1e-8)


@given(st.floats(0.001, 0.999), st.integers(1, 2000))
def test_quantile_and_distribution_are_inverse_and_symmetric(p, df):
    assert t_cdf(t_quantile(p, df), df) == pytest.approx(p, abs=1e-10)
    assert t_quantile(1 - p, df) == pytest.approx(-t_quantile(p, df), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("p", "df"), [(0.0, 3), (1.0, 3), (0.9, 0), (float("nan"), 3)])
def test_a_quantile_of_nothing_is_refused(p, df):
    with pytest.raises(ValueError, match="Expected p in"):
        t_quantile(p, df)


def test_the_t_interval_of_three_numbers_by_hand():
    # mean 2, s = 1, half width 4.30265273 / sqrt(3) = 2.48413771
    interval = t_interval([1.0, 2.0, 3.0])
    assert (interval.mean, interval.n) == (2.0, 3)
    assert half_width(interval) == pytest.approx(2.48413771, abs=1e-8)
    assert interval.low == pytest.approx(2 - 2.48413771, abs=1e-8)


def test_an_interval_of_one_number_is_unknown_and_of_none_too():
    one, none = clustered_share([0.5, 0.5, float("nan")], "aab"), t_interval([float("nan")])
    assert (one.mean, one.n, math.isnan(one.low), math.isnan(one.high)) == (0.5, 1, True, True)
    assert (none.n, math.isnan(none.mean)) == (0, True)


def test_a_level_out_of_range_is_refused():
    with pytest.raises(ValueError, match="Expected level in"):
        t_interval([1.0, 2.0], level=95)


def test_each_persona_counts_once_however_many_lines_it_has():
    values, personas = [1.0, 0.0, 0.0, 0.0, 1.0], ["ann", "ann", "ann", "ann", "bo"]
    assert cluster_means(values, personas) == {"ann": 0.25, "bo": 1.0}
    interval = clustered_mean(values, personas)
    # two means .25 and 1: mean .625, s = .75 / sqrt(2), half width 12.7062 * .375
    assert (interval.mean, interval.n) == (0.625, 2)
    assert half_width(interval) == pytest.approx(12.7062047 * 0.375, abs=1e-6)


def test_the_interval_of_a_share_by_hand():
    # mean .84; squares 4 * .16 ** 2 + .64 ** 2 = .512; error sqrt(.512 / 4 / 5) = .16; half 2.7764451 * .16: to 1.284
    interval = clustered_share([1.0, 1.0, 1.0, 1.0, 0.2], "abcde")
    assert (interval.mean, interval.low) == (pytest.approx(0.84), pytest.approx(0.84 - 2.7764451 * 0.16, abs=1e-7))
    assert (interval.high, interval.n) == (1.0, 5)
    assert clustered_mean([1.0, 1.0, 1.0, 1.0, 0.2], "abcde").high == pytest.approx(1.284231, abs=1e-6)
    middle = [0.4, 0.5, 0.6]  # nothing to cut
    assert clustered_share(middle, "abc") == clustered_mean(middle, "abc")


@pytest.mark.parametrize(("k", "doubt"), [(2, 0.841886), (3, 0.707598), (10, 0.308497), (256, 0.014307)])
def test_a_perfect_share_is_not_certain(k, doubt):
    """1 - .025 ** (1 / k): Clopper and Pearson's bound, .3085 for 0 of 10 in their tables."""
    best, worst = (clustered_share([value] * k, range(k)) for value in (1.0, 0.0))
    assert (best.mean, best.low, best.high) == (1.0, pytest.approx(1 - doubt, abs=1e-6), 1.0)
    assert (worst.mean, worst.low, worst.high) == (0.0, 0.0, pytest.approx(doubt, abs=1e-6))
    narrow = clustered_share([1.0] * k, range(k), level=0.5)
    assert narrow.low == pytest.approx(0.25 ** (1 / k))


@given(st.lists(st.sampled_from([0.0, 0.25, 0.9, 1.0]), min_size=2, max_size=12))
def test_the_interval_of_a_share_is_a_part_of_its_range_around_it(values):
    interval = clustered_share(values, range(len(values)))
    assert 0 <= interval.low <= interval.mean <= interval.high <= 1
    assert interval.low < interval.high or 0 < interval.mean < 1


def test_the_intervals_of_shares_cover_what_they_claim_where_faults_are_rare():
    """2,000 worlds of 10 personas of whom each has a fault with 10 %: in a third of them nobody has one."""
    faults = np.random.default_rng(1).random((2000, 10)) < 0.1
    hits = dict.fromkeys((clustered_mean, clustered_share), 0)
    for world in faults:
        for f in hits:
            interval = f((~world).astype(float).tolist(), range(10))
            hits[f] += interval.low <= 0.9 <= interval.high
    assert hits[clustered_mean] / 2000 < 0.7
    assert hits[clustered_share] / 2000 > 0.95


def test_values_without_their_personas_are_refused():
    with pytest.raises(ValueError, match="Expected 2 clusters"):
        clustered_mean([1.0, 0.0], ["ann"])


def test_the_reduction_of_two_personas_by_hand():
    # means .5 -> .15: reduction .7, ratio .3; residuals (.1 - .12, .2 - .18) / .5 = -+ .04
    # s = .04 sqrt(2), error = .04, half width 12.7062 * .04
    interval = reduction([0.4, 0.6], [0.1, 0.2], ["ann", "bo"])
    assert interval.mean == pytest.approx(0.7)
    assert half_width(interval) == pytest.approx(12.7062047 * 0.04, abs=1e-6)
    assert interval.n == 2


def test_a_reduction_pairs_by_persona_whatever_the_order_and_number_of_lines():
    one = reduction([0.4, 0.6], [0.1, 0.2], ["ann", "bo"])
    other = reduction([0.6, 0.4, 0.4], [0.0, 0.2, 0.2], ["bo", "ann", "ann"], ["ann", "ann", "bo"])
    assert (one.mean, one.low, one.n) == pytest.approx((other.mean, other.low, other.n))


def test_a_persona_that_is_only_on_one_side_is_left_out():
    interval = reduction([0.5, 0.5], [0.25, 0.0], ["ann", "bo"], ["ann", "cy"])
    assert (interval.mean, interval.n) == (0.5, 1)


def test_getting_worse_is_a_negative_reduction_and_no_drift_has_none():
    assert reduction([0.2, 0.2], [0.4, 0.4], ["ann", "bo"]).mean == pytest.approx(-1.0)
    assert math.isnan(reduction([0.0, 0.0], [0.1, 0.1], ["ann", "bo"]).mean)


def test_the_intervals_cover_what_they_claim_where_lines_hang_together():
    """2,000 worlds of 20 personas with 8 lines each; a bootstrap over lines would cover about half."""
    rng = np.random.default_rng(0)
    personas = np.repeat(np.arange(20), 8).tolist()
    hits = ratio_hits = 0
    for _ in range(2000):
        drift = rng.beta(1, 2, 20)  # a persona's rate, mean 1/3
        before = (rng.random((20, 8)) < drift[:, None]).ravel().astype(float).tolist()
        after = (rng.random((20, 8)) < drift[:, None] / 4).ravel().astype(float).tolist()
        mean = clustered_mean(before, personas)
        gone = reduction(before, after, personas)
        hits += mean.low <= 1 / 3 <= mean.high
        ratio_hits += gone.low <= 0.75 <= gone.high
    assert 0.93 <= hits / 2000 <= 0.97
    assert 0.90 <= ratio_hits / 2000 <= 0.97
