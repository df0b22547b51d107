"""Agreement with labels: golden figures worked by hand, and intervals that cover what they claim."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_env.metrics.agreement import accuracy, alpha, auroc, balanced_accuracy, kappa, over_personas
from persona_env.metrics.statistics import clustered_share

LABELS = st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.2, 0.5, 0.5, 0.9, 1.0])), min_size=1, max_size=40)


def table(yes_yes: int, yes_no: int, no_yes: int, no_no: int) -> tuple[list[bool], list[float]]:
    """Labels and verdicts with these counts of (label, verdict)."""
    truth = [True] * (yes_yes + yes_no) + [False] * (no_yes + no_no)
    return truth, [1.0] * yes_yes + [0.0] * yes_no + [1.0] * no_yes + [0.0] * no_no


@pytest.mark.parametrize(
    ("statistic", "counts", "value"),
    [
        # p_o = 35/50 = .7; yes shares 25/50 and 30/50: p_e = .5 * .6 + .5 * .4 = .5; (.7 - .5) / .5
        (kappa, (20, 5, 10, 15), 0.4),
        (kappa, (0, 2, 2, 0), -1.0),  # p_o = 0, p_e = .5
        (kappa, (3, 0, 0, 1), 1.0),
        (kappa, (4, 0, 0, 0), math.nan),  # both always say the same: unknown, not perfect
        # 45 of 50 consistent ones, 2 of 10 inconsistent ones: (.9 + .2) / 2; accuracy 47/60
        (balanced_accuracy, (45, 5, 8, 2), 0.55),
        (accuracy, (45, 5, 8, 2), 47 / 60),
        # a rare class flatters accuracy only
        (accuracy, (95, 0, 5, 0), 0.95),
        (balanced_accuracy, (95, 0, 5, 0), 0.5),
        (kappa, (95, 0, 5, 0), 0.0),
        (auroc, (95, 0, 5, 0), 0.5),
    ],
)
def test_a_statistic_of_a_table_by_hand(statistic, counts, value):
    assert statistic(*table(*counts)) == pytest.approx(value, nan_ok=True)


def test_auroc_with_ties_by_hand():
    # consistent .8 .6 .6, inconsistent .6 .2: pairs 6; in order .8>.6 .8>.2 .6>.2 .6>.2 = 4; ties 2
    assert auroc([True, True, True, False, False], [0.8, 0.6, 0.6, 0.6, 0.2]) == pytest.approx(5 / 6)


@given(LABELS)
def test_auroc_is_the_share_of_ordered_pairs(rows: list[tuple[bool, float]]):
    truth, scores = [t for t, _ in rows], [s for _, s in rows]
    pairs = [(a, b) for t, a in rows for u, b in rows if t and not u]
    found = auroc(truth, scores)
    if not pairs:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(sum((a > b) + (a == b) / 2 for a, b in pairs) / len(pairs))


@given(LABELS)
def test_saying_the_opposite_mirrors_balanced_accuracy_and_auroc(rows: list[tuple[bool, float]]):
    truth, said = [t for t, _ in rows], [float(s > 0.5) for _, s in rows]
    if len(set(truth)) == 2:
        other = [1 - s for s in said]
        assert balanced_accuracy(truth, said) + balanced_accuracy(truth, other) == pytest.approx(1)
        assert auroc(truth, said) == pytest.approx(balanced_accuracy(truth, said))


@pytest.mark.parametrize(
    ("observers", "value"),
    [
        (("0100000010", "1110010000"), 0.095),  # section A: two observers, ten units, binary
        # section C: four observers, twelve units, five names, some answers missing
        (("123321412...", "1233224125.3", ".3332342251.", "12332441251."), 0.743),
    ],
)
def test_alpha_of_the_published_examples(observers, value):
    """Krippendorff (2011)."""
    units = [[a for a in answers if a != "."] for answers in zip(*observers, strict=True)]
    assert alpha(units) == pytest.approx(value, abs=5e-4)


def test_alpha_needs_two_answers_and_two_names():
    assert math.isnan(alpha([("a",), ("b",)]))
    assert math.isnan(alpha([("a", "a"), ("a", "a")]))


def test_the_interval_of_three_personas_by_hand():
    # ann 1 of 2, bo 1 of 1, cy 1 of 1: 3/4. Left out: ann 1, bo 2/3, cy 2/3; mean 7/9, squares 2/27
    # variance 2/3 * 2/27 = 4/81, error 2/9, half 4.3027 * 2/9 = .956: cut to [0, 1]
    def right(truth, said):
        return accuracy(truth, said)

    interval = over_personas(right, [True] * 4, [1, 0, 1, 1], ["ann", "ann", "bo", "cy"])
    assert (interval.mean, interval.low, interval.high, interval.n) == (0.75, 0.0, 1.0, 3)
    narrow = over_personas(right, [True] * 4, [1, 0, 1, 1], ["ann", "ann", "bo", "cy"], level=0.5)
    assert narrow.low == pytest.approx(0.75 - 0.8164965809 * 2 / 9, abs=1e-9)


def test_a_constant_judge_is_certain_and_a_perfect_one_is_not():
    truth, personas = [True, False] * 10, [i // 2 for i in range(20)]
    constant = over_personas(balanced_accuracy, truth, [1.0] * 20, personas)
    assert (constant.low, constant.high) == (0.5, 0.5)
    perfect = over_personas(balanced_accuracy, truth, [float(t) for t in truth], personas)
    share = clustered_share([1.0] * 20, personas)  # 10 personas with two lines each
    assert (perfect.mean, perfect.low, perfect.high) == (1.0, pytest.approx(share.low), 1.0)
    agreed = over_personas(kappa, truth, [float(t) for t in truth], personas, lowest=-1.0)
    assert agreed.low == pytest.approx(2 * share.low - 1)


def test_an_accuracy_has_the_interval_of_a_share_and_perfection_is_not_punished():
    personas, faults = [i // 8 for i in range(240)], [1.0] * 240
    perfect = over_personas(accuracy, [True] * 240, faults, personas)
    one = over_personas(accuracy, [True] * 240, [0.0, *faults[1:]], personas)
    assert one.low < perfect.low < one.mean < one.high < 1.0 == perfect.high
    share = clustered_share([0.0, *faults[1:]], personas)
    assert (one.low, one.high) == pytest.approx((share.low, share.high))


def test_where_a_person_holds_a_whole_class_the_interval_is_unknown():
    interval = over_personas(balanced_accuracy, [True, False, True], [1, 0, 0], ["ann", "bo", "cy"])
    assert interval.mean == 0.75
    assert math.isnan(interval.low)
    assert math.isnan(over_personas(accuracy, [True] * 4, [1, 0, 1, 1], ["ann"] * 4).low), "and that of one person"


@pytest.mark.parametrize("statistic", [accuracy, balanced_accuracy, kappa, auroc])
def test_unpaired_and_unsettled_verdicts_are_refused(statistic):
    with pytest.raises(ValueError, match="Expected 2 verdicts, one for each label, got 1: "):
        statistic([True, False], [1])
    with pytest.raises(ValueError, match="got nan: settle invalid verdicts first"):
        statistic([True, False], [1, math.nan])
    assert math.isnan(statistic([], []))


@pytest.mark.slow
@pytest.mark.parametrize("k", [12, 30])
def test_the_intervals_cover_what_they_claim_where_a_personas_items_hang_together(k: int):
    """1,000 worlds of k personas with 4 to 16 items each; every persona has its own rate of faults and classes."""
    rng = np.random.default_rng(k)
    big = _world(rng, 20_000)
    kinds = {"accuracy": (accuracy, 0, 0.0), "balanced": (balanced_accuracy, 0, 0.0), "kappa": (kappa, 0, -1.0)}
    kinds["auroc"] = (auroc, 1, 0.0)
    truth = {name: f(big[0], big[1 + column]) for name, (f, column, _) in kinds.items()}
    hits = dict.fromkeys(kinds, 0)
    naive = 0
    for _ in range(1000):
        world = _world(rng, k)
        for name, (f, column, lowest) in kinds.items():
            interval = over_personas(f, world[0], world[1 + column], world[3], lowest=lowest)
            hits[name] += interval.low <= truth[name] <= interval.high
        plain = over_personas(accuracy, world[0], world[1], range(len(world[0])))
        naive += plain.low <= truth["accuracy"] <= plain.high
    assert all(0.91 <= hit / 1000 <= 0.975 for hit in hits.values()), hits
    assert naive / 1000 < 0.88


def _world(rng: np.random.Generator, k: int) -> tuple[Any, Any, Any, list[int]]:
    """Labels, verdicts, probabilities and personas of k people."""
    sizes = rng.integers(4, 17, k)
    whose = np.repeat(np.arange(k), sizes)
    truth = rng.random(len(whose)) < rng.beta(3, 2, k)[whose]
    skill = rng.normal(1.2, 0.9, k)[whose]
    signal = np.where(truth, skill, -skill) / 2 + rng.normal(0, 1, len(whose))
    probability = np.round(1 / (1 + np.exp(-signal)), 1)
    return truth, (signal > 0).astype(float), probability, whose.tolist()
