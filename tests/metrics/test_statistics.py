import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_env.metrics.statistics import (
    cluster_shares,
    clustered_mean,
    clustered_share,
    reduction,
    reduction_limits,
    share_limits,
    t_cdf,
    t_interval,
    t_quantile,
    within,
)


def ends(interval):
    return interval.low, interval.high


# Standard tables of Student's t (Abramowitz and Stegun, table 26.10): p, df, t.
TABLE = [
    *((0.975, 1, 12.7062), (0.975, 2, 4.3027), (0.975, 3, 3.1824), (0.975, 5, 2.5706), (0.975, 10, 2.2281)),
    *((0.975, 30, 2.0423), (0.975, 120, 1.9799), (0.95, 9, 1.8331), (0.90, 15, 1.3406), (0.9995, 4, 8.6103)),
]


@pytest.mark.parametrize(("p", "df", "t"), TABLE)
def test_the_t_quantile_is_that_of_the_tables(p, df, t):
    assert t_quantile(p, df) == pytest.approx(t, abs=5.1e-5)


@given(st.floats(0.001, 0.999), st.integers(1, 2000))
def test_quantile_and_distribution_are_inverse_and_symmetric(p, df):
    assert t_cdf(t_quantile(p, df), df) == pytest.approx(p, abs=1e-10)
    assert t_quantile(1 - p, df) == pytest.approx(-t_quantile(p, df), rel=1e-9, abs=1e-12)


def test_an_interval_of_one_number_is_unknown_and_of_none_too():
    one, none = clustered_share([0.5, 0.5, float("nan")], "aab"), clustered_share([float("nan")], "a")
    assert (one.mean, one.n, math.isnan(one.low), math.isnan(one.high)) == (0.5, 1, True, True)
    assert (none.n, math.isnan(none.mean)) == (0, True)


def test_what_has_no_interval_is_refused():
    for p, df in ((0.0, 3), (1.0, 3), (0.9, 0), (math.nan, 3)):
        with pytest.raises(ValueError, match="Expected p in"):
            t_quantile(p, df)
    with pytest.raises(ValueError, match="Expected level in"):
        t_interval([1.0, 2.0], level=95)
    with pytest.raises(ValueError, match="Expected 2 clusters"):
        clustered_mean([1.0, 0.0], ["ann"])


def test_each_persona_counts_once_however_many_lines_it_has():
    values, personas = [1.0, 0.0, 0.0, 0.0, 1.0], ["ann", "ann", "ann", "ann", "bo"]
    assert cluster_shares(values, personas) == {"ann": (0.25, 4), "bo": (1.0, 1)}
    interval = clustered_mean(values, personas)
    # two means .25 and 1: mean .625, s = .75 / sqrt(2), half width 12.7062 * .375 = 4.7648268
    assert (interval.mean, interval.n) == (0.625, 2)
    assert ends(interval) == pytest.approx((0.625 - 4.7648268, 0.625 + 4.7648268), abs=1e-6)
    # dialogues of 2 and 6 lines: 2**2 / (1/2 + 1/6) = 6; the interval is that of persona means of so many lines
    assert cluster_shares([0.5, 1.0], "aa", [2, 6]) == {"a": (0.75, pytest.approx(6))}
    talks = clustered_share([0.5, 1.0, 0.25], "aab", [2, 6, 5])
    assert (talks.low, talks.high) == pytest.approx(ends(clustered_share([0.75, 0.25], "ab", [6, 5])))


def test_the_interval_of_a_share_by_hand():
    # n 8, D = .0625 / (.25 / 8) = 2, h = 12.7062**2 * 2 / 16 = 20.1809; .5 -+ sqrt(h / 2 / (1 + 2 h))
    assert ends(clustered_share([0.25, 0.75], "ab", [4, 4])) == pytest.approx((0.006081, 0.993919), abs=1e-6)
    # D = .04 / (.16 / 30) = 7.5, h = 2/3 * 7.5 / 60 = 1/12; low (.05 - 11/60) / (7/6) from .2; high with 2 - 1 / 7.5:
    # shift 7/75, root sqrt(.0087111 + .0311111) = .1995551
    uneven = clustered_share([0.0, 0.0, 0.6], "abc", [10] * 3, 0.5)
    assert ends(uneven) == pytest.approx((3 / 35, 0.4510472), abs=1e-7)
    # alike, as if one had a bad line: squares .8, fourths .416, df = 2 / (.65 - .1) = 3.6364, weight 12 / 11
    # D = (12 / 11 * 3 + df**2) / (12 / 11 + df**2) = 1.152428, h = 2.7764451**2 * D / 70 = .1269090; 1 / (1 + 2 h)
    assert ends(clustered_share([1.0] * 5, range(5), [7] * 5)) == pytest.approx((0.797564, 1.0), abs=1e-6)


def test_the_reduction_of_three_personas_by_hand():
    # after as above; before D = 1.6, h = 4/225, .5 -+ .0926482; r = .12 / sqrt(.08 * .24) = .8660254
    # at most (.0798570 + sqrt(.0063771 + .0230247 * .2414163)) / .2414163 = .783325 of it is left
    # at least .0269388 / (.0908302 + sqrt(.0082501 - .0269388 * .2414163)) = .203124
    interval = reduction([0.3, 0.5, 0.7], [0.0, 0.0, 0.6], "abc", "abc", [10] * 3, [10] * 3, 0.5)
    assert (interval.mean, *ends(interval), interval.n) == pytest.approx((0.6, 0.216675, 0.796876, 3), abs=2e-6)


@given(st.lists(st.tuples(*[st.integers(0, 8)] * 2, st.integers(8, 40)), min_size=2, max_size=12), st.randoms())
def test_an_interval_lies_around_its_statistic_and_within_its_range(rows, random):
    def intervals(rows):
        b, a, n = ([row[place] for row in rows] for place in range(3))
        shares, everybody = [[x / y for x, y in zip(bad, n, strict=True)] for bad in (b, a)], range(len(rows))
        good = clustered_share([1 - share for share in shares[0]], everybody, n)
        return clustered_share(shares[0], everybody, n), good, reduction(shares[0], shares[1], everybody, None, n, n)

    share, good, gone = intervals(rows)
    assert 0 <= share.low <= share.mean <= share.high <= 1
    assert share.low < share.high
    assert (1 - good.high, 1 - good.low) == pytest.approx(ends(share), abs=1e-9), "the complement's mirrors it"
    assert not share.mean or -math.inf < gone.low <= gone.mean <= gone.high <= 1
    assert not share.mean or gone.low < gone.high
    random.shuffle(rows)
    assert intervals(rows)[0] == share
    assert intervals(rows)[2] == gone or not share.mean


@pytest.mark.parametrize("k", [2, 3, 10, 128])
def test_perfection_is_neither_certain_nor_punished(k):
    lows = [clustered_share([1.0] * k, range(k), [n] * k).low for n in (1, 8, 100)]
    assert lows == sorted(set(lows))
    assert lows[-1] < 1
    assert clustered_share([1.0] * (k - 1) + [0.99], range(k), [100] * k).low < lows[-1]
    gone = reduction([0.3, 0.5] * k, [0.0] * 2 * k, range(2 * k), None, [100] * 2 * k, [100] * 2 * k)
    assert gone.low < gone.mean == gone.high == 1
    assert within(t_interval([1.0] * k), level=0.5).low == pytest.approx(0.25 ** (1 / k))


def test_a_reduction_pairs_by_persona_whatever_the_order_and_number_of_lines():
    one = reduction([0.4, 0.6], [0.1, 0.2], ["ann", "bo"], None, [2, 1], [2, 1])
    other = reduction([0.6, 0.4, 0.4], [0.0, 0.2, 0.2], ["bo", "ann", "ann"], ["ann", "ann", "bo"])
    assert (one.mean, *ends(one), one.n) == pytest.approx((0.7, *ends(other), 2))
    only = reduction([0.5, 0.5], [0.25, 0.0], ["ann", "bo"], ["ann", "cy"])
    assert (only.mean, only.n, math.isnan(only.low)) == (0.5, 1, True), "a persona of one side is left out"
    assert math.isnan(reduction([0.0, 0.0], [0.1, 0.1], ["ann", "bo"]).mean)


def lines_of(rng, rates, lines):
    """Returns shares of bad lines of personas with these rates, and their numbers of lines, some cut short."""
    n = rng.integers(lines // 2, lines + 1, rates.shape)
    return rng.binomial(n, rates) / n, n.astype(float)


@pytest.mark.parametrize("correlation", [0.001, 0.2])
@pytest.mark.parametrize(("k", "lines"), [(10, 8), (10, 100), (128, 30)])
def test_the_intervals_cover_what_they_claim(k, lines, correlation):
    """A persona's rate is beta distributed, with this correlation of two of its lines; 1,000 worlds: +- .02."""
    rng, spread = np.random.default_rng(k + lines), 1 / correlation - 1
    hits = {}
    for rate in (0.35, 0.05, 0.01, 0.002):
        bad, n = lines_of(rng, rng.beta(rate * spread, (1 - rate) * spread, (1000, k)), lines)
        _, low, high = share_limits(bad, n)
        hits[rate, rate * n[0].sum() > 10] = ((low <= rate) & (rate <= high)).mean()
    for left in (0.7, 0.2, 0.02):
        old = rng.beta(0.35 * spread, 0.65 * spread, (1000, k))
        for new in (old * left, rng.beta(0.35 * left * spread, (1 - 0.35 * left) * spread, (1000, k))):
            (b, m), (a, n) = lines_of(rng, old, lines), lines_of(rng, new, lines)
            _, low, high = reduction_limits(b, a, m, n)
            hits[left, new[0, 0] / old[0, 0], False] = ((low <= 1 - left) & (1 - left <= high)).mean()
    assert min(hits.values()) > 0.91, hits
    assert max(hit for (*_, are_many), hit in hits.items() if are_many) < 0.985, hits


def test_intervals_over_dialogues_or_of_students_t_would_not_cover():
    """The controls of the test above: 500 worlds of 30 personas with 2 % bad lines in 4 dialogues of 25 lines each."""
    rng = np.random.default_rng(0)
    bad = rng.binomial(25, rng.beta(0.08, 3.92, (500, 30, 1)), (500, 30, 4)) / 25
    _, *personas = share_limits(bad.mean(-1), np.full((500, 30), 100.0))
    _, *dialogues = share_limits(bad.reshape(500, 120), np.full((500, 120), 25.0))
    students = np.transpose([ends(within(t_interval(world.mean(-1).tolist()))) for world in bad])
    hits = [((low <= 0.02) & (high >= 0.02)).mean() for low, high in (personas, dialogues, students)]
    assert hits[0] > 0.92 > 0.85 > max(hits[1:]), hits
