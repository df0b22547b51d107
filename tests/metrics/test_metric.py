import math
from collections import Counter
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

import persona_env
from persona_env.conversation import Conversation
from persona_env.errors import InputError
from persona_env.judges import Label, LineVsHistory, LineVsPersona, LineVsPrevious, Verdict
from persona_env.metrics import (
    METRICS,
    Copying,
    LineToLine,
    PromptToLine,
    Relevance,
    Repetition,
    Score,
    evaluate,
    load_metric,
)
from persona_env.metrics.metric import with_verdicts
from persona_env.registry import Registry
from persona_env.testing import check_metric
from tests.metrics.parts import ANN, Shouting, talk


class LyingIsBad:
    """Calls a line with "lie" bad and one with "?!" unreadable; keeps what it was asked."""

    def __init__(self):
        self.batches = []

    def judge(self, questions):
        self.batches.append(list(questions))
        return [self._verdict(question) for question in questions]

    @staticmethod
    def _verdict(question):
        if "?!" in question.line:
            return Verdict("invalid")
        return Verdict("inconsistent" if "lie" in question.line else "consistent")


@given(st.lists(st.builds(Verdict, st.sampled_from(get_args(Label)), is_asked=st.booleans(), applies=st.booleans())))
def test_every_score_is_in_range_and_counts_every_verdict_once(verdicts):
    score, labels = Score.of(verdicts), [verdict.label for verdict in verdicts if verdict.applies]
    assert (score.invalid, score.undecided) == (labels.count("invalid"), labels.count("undecided"))
    assert score.n + score.invalid + score.undecided == len(labels)
    assert score.invalid <= score.asked <= len(labels)
    assert math.isnan(score.value) if score.n == 0 else score.value == labels.count("consistent") / score.n
    assert score.n == 0 or score.inconsistency == 1 - score.value


def test_all_metrics_of_many_conversations_are_judged_in_one_batch():
    judge = LyingIsBad()
    assert evaluate([], [PromptToLine()], judge) == {"prompt_to_line": []}
    conversations = [talk("I am Ann.", "That is a lie."), talk("Yes."), talk()]
    metrics = [PromptToLine(), LineToLine(), Relevance(), Copying(), Repetition()]
    table = evaluate(conversations, metrics, judge)
    assert len(judge.batches) == 1
    assert {name: [tuple(v for v in s.per_line if v == v) for s in scores] for name, scores in table.items()} == {
        "prompt_to_line": [(1.0, 0.0), (1.0,), ()],
        "line_to_line": [(0.0,), (), ()],
        "relevance": [(1.0, 0.0), (1.0,), ()],
        "copying": [(1.0, 1.0), (1.0,), ()],
        "repetition": [(1.0, 1.0), (1.0,), ()],
    }
    assert Counter(map(type, judge.batches[0])) == {LineVsPersona: 3, LineVsHistory: 1, LineVsPrevious: 3}


def test_an_identical_question_is_asked_once_and_counted_each_time():
    judge = LyingIsBad()
    scores = PromptToLine()([talk("Yes."), talk("Yes."), talk("a lie", "a lie")], judge)
    assert len(judge.batches[0]) == 2
    assert [score.per_line for score in scores] == [(1.0,), (1.0,), (0.0, 0.0)]


def test_an_invalid_verdict_is_counted_and_never_consistent():
    (score,) = PromptToLine()([talk("Yes.", "?!")], LyingIsBad())
    assert (score.value, score.n, score.invalid) == (1.0, 1, 1)
    assert math.isnan(score.per_line[1])


def test_a_missing_judge_is_told():
    with pytest.raises(ValueError, match="Expected a judge of 1 queries, got None"):
        PromptToLine()([talk("Yes.")])


def test_a_judge_that_miscounts_and_two_metrics_of_one_name_are_refused():
    with pytest.raises(ValueError, match="Expected 2 verdicts, got 1"):
        with_verdicts(PromptToLine().queries([talk("Yes.", "No.")])[0], [Verdict("consistent")])
    with pytest.raises(ValueError, match="distinct names"):
        evaluate([talk("Yes.")], [Repetition(), Repetition(None)])


@pytest.mark.parametrize("name", METRICS.names())
def test_a_metric_is_registered_under_its_own_name(name):
    metric = load_metric(name)
    assert (metric.name, load_metric(metric)) == (name, metric)
    assert type(metric).__name__ in repr(metric)


def test_a_metric_from_outside_is_loaded_by_its_name_and_its_options(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("persona_env.metrics.METRICS", Registry("metric", {}))
    assert persona_env.register_metric("shouting", Shouting) is Shouting
    assert load_metric("shouting")([talk("Hi.", "hi.")])[0].per_line == (0.0, 1.0)
    assert load_metric("shouting?most=1")([talk("Hi.", "HI.")])[0].per_line == (1.0, 0.0)
    check_metric(load_metric("shouting"))
    persona_env.register_metric("politeness", Shouting)
    with pytest.raises(InputError, match="Expected a Metric named 'politeness'"):
        load_metric("politeness")


@pytest.mark.parametrize("spec", ["toxicity", "repetition?theta=1", "repetition:near", "repetition?threshold=often"])
def test_a_metric_spec_that_names_none_is_refused(spec):
    with pytest.raises(InputError, match=r"^Expected "):
        load_metric(spec)


def test_a_line_that_nothing_judges_is_no_success():
    opening = Conversation(ANN).with_line("Hello, I am Ann.")
    for score in (Relevance()([opening])[0], LineToLine()([opening])[0], LineToLine()([talk("Hi.")])[0]):
        assert math.isnan(score.value)
        assert (score.n, score.invalid, score.undecided, score.asked) == (0, 0, 0, 0)
    assert Relevance().query(talk("One."), 0) == LineVsPrevious(ANN, "Go on.", "One.")


@pytest.mark.parametrize("line", ["", "...", "Thought process:"])
def test_a_line_without_content_is_good_by_no_metric_though_nothing_stands_before_it(line):
    first, silent = Conversation(ANN).with_line(line), Conversation(ANN).with_reply(" ").with_line(line)
    scores = [*LineToLine()([first]), *Relevance()([first, silent])]
    assert [score.n for score in scores] == [0, 0, 0]
