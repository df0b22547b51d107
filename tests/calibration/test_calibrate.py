"""A judge held against labels: what counts as right, what a constant judge gets, and when it may pay rewards."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from persona_env.calibration.calibration import FILE, Calibration, calibrate, is_calibrated
from persona_env.calibration.label_file import save_labels
from persona_env.calibration.labels import Labelled, Labels, load_labels
from persona_env.judges import Judge, Label, LineVsPersona, Query, Verdict, as_judge, load_judge
from persona_env.judges.ensemble import Ensemble
from persona_env.metrics.statistics import clustered_share
from persona_env.persona import Persona
from tests.evaluation.drifted import drifted_votes
from tests.io.invented import DATA, needs_data


class Saying:
    """A judge that says what a function of the question says."""

    def __init__(self, say: Callable[[Query], Verdict]):
        self.say = say

    def judge(self, questions: Sequence[Query]) -> list[Verdict]:
        return [self.say(question) for question in questions]


def line(person: int, text: str) -> LineVsPersona:
    return LineVsPersona(Persona(f"p{person}", "patient", "", f"You are {person}."), text)


def few(*rows: tuple[int, str, str]) -> Labels:
    """Labels of (person, line, label); the line is what `reading` says of it."""
    return Labels(tuple(Labelled(line(who, text), label, f"p{who}") for who, text, label in rows))  # pyright: ignore[reportArgumentType]


def reading(question: Query) -> Verdict:
    """Says what stands in the line: a label, and perhaps a probability."""
    assert isinstance(question, LineVsPersona)
    label, _, probability = question.line.partition(" ")
    return Verdict(label, probability=float(probability) if probability else None)  # pyright: ignore[reportArgumentType]


G, B, X = "consistent", "inconsistent", "invalid"


@pytest.fixture(scope="module")
def drifted(tmp_path_factory: pytest.TempPathFactory) -> Labels:
    path = tmp_path_factory.mktemp("labels") / "labels.jsonl"
    save_labels(path, [*drifted_votes()])
    return load_labels([path])


def test_figures_by_hand():
    # labels good: said good .9, good .6, bad .4; labels bad: said bad .4, good .7
    rows = [(0, "consistent 0.9", G), (0, "consistent 0.6", G), (1, "inconsistent 0.4", G)]
    rows += [(1, "inconsistent 0.4 ", B), (2, "consistent 0.7", B)]
    (row,) = calibrate(Saying(reading), few(*rows)).rows
    assert (row.role, row.kind, row.n, row.personas) == ("patient", "prompt_to_line", 5, 3)
    assert (row.consistent, row.invalid) == (3, 0)
    assert row.judged["accuracy"].value == pytest.approx(3 / 5)
    assert row.judged["balanced_accuracy"].value == pytest.approx((2 / 3 + 1 / 2) / 2)
    # p_o = .6, p_e = .6 * .6 + .4 * .4 = .52
    assert row.judged["kappa"].value == pytest.approx(0.08 / 0.48)
    # 6 pairs: .9>.7 .9>.4 .6<.7 .6>.4 .4<.7 .4=.4: 3.5 of 6
    assert row.judged["auroc"].value == pytest.approx(3.5 / 6)
    values = {name: figure.value for name, figure in row.constant.items()}
    assert values == {"accuracy": 0.6, "balanced_accuracy": 0.5, "kappa": 0.0, "auroc": 0.5}


def test_an_invalid_verdict_counts_as_wrong_and_is_shown():
    rows = [(0, "consistent 0.9", G), (1, "invalid 0.99", G), (2, "inconsistent 0.1", B), (3, "invalid", B)]
    (row,) = calibrate(Saying(reading), few(*rows)).rows
    assert row.invalid == 2
    assert row.judged["accuracy"].value == row.judged["balanced_accuracy"].value == 0.5
    assert row.judged["kappa"].value == 0.0
    # of 4 pairs the one without an invalid side is in order; the others are not, whatever probability they claim
    assert row.judged["auroc"].value == 0.25


@pytest.mark.parametrize("label", ["invalid", "undecided"])
def test_of_a_judge_that_never_decides_no_figure_is_known(label: Label):
    labels = few(*((i, f"line {i}", label) for i, label in enumerate([G, B] * 3)))
    (row,) = calibrate(Saying(lambda question: Verdict(label)), labels).rows
    assert {figure.value for figure in row.judged.values()} == {None}
    assert (getattr(row, label), row.why) == (6, "none of its verdicts decides")


def test_an_undecided_verdict_is_an_abstention_and_is_shown():
    rows = [(0, "consistent 0.9", G), (1, "undecided 0.5", G), (2, "inconsistent 0.1", B), (3, "consistent 0.8", B)]
    (row,) = calibrate(Saying(reading), few(*rows)).rows
    assert (row.n, row.invalid, row.undecided) == (4, 0, 1)
    assert row.judged["accuracy"].value == pytest.approx(2 / 3)
    assert row.judged["balanced_accuracy"].value == 0.75
    assert row.judged["auroc"].value == 1.0  # .9 > .1, .9 > .8
    assert row.constant["accuracy"].value == 0.5  # of all four


@pytest.mark.parametrize(("undecided", "why"), [(60, ""), (61, "it leaves 61 of 120 questions undecided")])
def test_a_judge_that_leaves_most_undecided_is_not_usable(undecided: int, why: str):
    labels = [G, B] * 60
    rows = [(i % 40, f"{'undecided' if i < undecided else label} {i / 1000}", label) for i, label in enumerate(labels)]
    (row,) = calibrate(Saying(reading), few(*rows)).rows
    assert row.why == why


def test_without_a_probability_for_every_valid_verdict_there_is_no_auroc():
    rows = [(0, "consistent 0.9", G), (1, "inconsistent", B), (2, "consistent 0.8", B)]
    (row,) = calibrate(Saying(reading), few(*rows)).rows
    assert row.judged["auroc"].value is None
    assert row.constant["auroc"].value == 0.5


def test_the_oracle_is_perfect_on_its_own_world_and_is_usable(drifted: Labels):
    found = calibrate(load_judge("oracle"), drifted, spec="oracle")
    assert [row.kind for row in found.rows] == ["prompt_to_line", "line_to_line"]
    for row in found.rows:
        assert (row.judged["balanced_accuracy"].value, row.judged["kappa"].value, row.invalid) == (1.0, 1.0, 0)
        perfect = clustered_share([1.0] * row.n, [i % 24 for i in range(row.n)])
        assert row.judged["balanced_accuracy"].low == row.judged["accuracy"].low == pytest.approx(perfect.low)
        assert row.usable


def test_a_constant_judge_is_exactly_worthless_and_is_not_usable(drifted: Labels):
    for label in (G, B):
        judge = Saying(lambda question, label=label: Verdict(label, probability=0.7))
        for row in calibrate(judge, drifted).rows:
            values = [row.judged[name].value for name in ("balanced_accuracy", "kappa", "auroc")]
            assert values == [0.5, 0.0, 0.5]
            assert (row.judged["balanced_accuracy"].low, row.judged["balanced_accuracy"].high) == (0.5, 0.5)
            assert not row.usable
            assert "as low as 0.500, below 0.6" in row.why


@pytest.mark.parametrize(
    ("personas", "bad", "why"),
    [(9, 45, "the labels are of 9 personas, fewer than 10"), (40, 19, "only 19 labels are inconsistent"), (40, 20, "")],
)
def test_a_perfect_judge_on_few_labels_is_not_usable(personas: int, bad: int, why: str):
    rows = [(i % personas, f"{B if i < bad else G} {i / 1000}", B if i < bad else G) for i in range(90)]
    (row,) = calibrate(Saying(reading), few(*rows)).rows
    assert row.why == why
    assert row.usable == (not why)


def test_labels_of_one_class_are_refused_in_one_line():
    labels = few((0, "consistent", G), (1, "consistent", G))
    with pytest.raises(
        ValueError, match="Expected labels of both classes for one kind of question, got 2 consistent and 0 "
    ):
        calibrate(Saying(reading), labels)


def test_one_kind_with_both_classes_does_not_vouch_for_another(drifted: Labels):
    alone = few(*((i, f"consistent {i}", G) for i in range(3)))
    alone = Labels((*drifted.items, *(Labelled(i.question, i.label, i.persona_id) for i in alone.items)))
    alone = Labels(tuple(i for i in alone.items if i.kind == "line_to_line" or i.persona_id in ("p0", "p1", "p2")))
    rows = {row.kind: row for row in calibrate(Saying(lambda q: Verdict("consistent")), alone).rows}
    assert rows["prompt_to_line"].why == "the labels are all of one class"
    assert rows["prompt_to_line"].judged["balanced_accuracy"].value is None


def test_the_members_of_an_ensemble_are_compared(drifted: Labels):
    asked: list[Query] = []

    def yes(question: Query) -> Verdict:
        asked.append(question)
        return Verdict("consistent")

    found = calibrate(Ensemble([load_judge("oracle"), load_judge("oracle"), Saying(yes)]), drifted)
    assert found.members is not None
    assert (len(found.members.names), found.members.questions) == (3, len(drifted.items))
    assert len(asked) == len(drifted.items)  # nobody is asked twice for the agreement
    assert -1 < found.members.alpha < 1
    assert all(row.judged["balanced_accuracy"].value == 1.0 for row in found.rows)
    assert calibrate(load_judge("oracle"), drifted).members is None


def test_a_judge_that_miscounts_is_refused(drifted: Labels):
    class Short:
        def judge(self, questions: Sequence[Query]) -> list[Verdict]:
            return [Verdict("consistent")]

    with pytest.raises(ValueError, match="Expected 256 verdicts, got 1"):
        calibrate(Short(), drifted)


def saved(folder: Path, found: Calibration) -> Path:
    (folder / FILE).write_text(json.dumps(found.as_json(), allow_nan=False), encoding="utf-8")
    return folder / FILE


def test_a_calibration_vouches_for_this_judge_this_role_and_these_kinds_only(drifted: Labels, tmp_path: Path):
    judge: Judge = load_judge("oracle")
    path, identity = saved(tmp_path, calibrate(judge, drifted, spec="oracle")), judge.identity
    assert is_calibrated(path, identity, "patient")
    assert is_calibrated(tmp_path, identity, "patient", ("prompt_to_line", "line_to_line"))
    assert not is_calibrated(path, identity, "student")
    assert not is_calibrated(path, identity, "patient", ("prompt_to_line", "question_answer"))
    assert not is_calibrated(path, {**identity, "prompt": "another"}, "patient")
    constant = Saying(lambda question: Verdict("consistent"))
    assert not is_calibrated(saved(tmp_path, calibrate(constant, drifted)), as_judge(constant).identity, "patient")


def test_the_file_holds_what_was_asked_and_of_whom(drifted: Labels):
    found = json.loads(json.dumps(calibrate(load_judge("oracle"), drifted.limited(30, 1), spec="oracle").as_json()))
    assert (found["judge"], found["labels"]["limit"], found["labels"]["seed"]) == ("oracle", 30, 1)
    assert len(found["labels"]["digest"]) == 64
    assert [(row["n"], row["consistent"]) for row in found["rows"]] == [(60, 30), (60, 30)]
    assert set(found["rows"][0]["judged"]["kappa"]) == {"value", "low", "high"}
    assert not [value for value in found["rows"][0]["judged"].values() if value["value"] != value["value"]]


@needs_data
def test_the_strict_reading_of_a_real_log_agrees_with_the_published_one_but_for_what_has_no_verdict():
    path = DATA / "chatting" / "gemma-2-2b-it_0_10_89.json"
    rows = {row.kind: row for row in calibrate(load_judge(f"recorded:{path}"), load_labels([path])).rows}
    row = rows["prompt_to_line"]
    assert 0.95 < (row.judged["kappa"].value or math.nan) < 1.0
    assert row.judged["accuracy"].value == pytest.approx(1 - row.invalid / row.n)
