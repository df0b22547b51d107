"""Every part of ours passes its kit; and each clause of a kit fails on a part that breaks it."""

# The broken parts below break their types, too.
# pyright: reportIncompatibleMethodOverride=false, reportArgumentType=false

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import persona_env.metrics
import persona_wrappers as pw
from persona_env.judges import JUDGES, Judge, LineVsHistory, Verdict, load_judge
from persona_env.metrics import LineMetric, PromptToLine, QuestionAnswer, Repetition, Score
from persona_env.speakers import load_speaker
from persona_env.testing import check_judge, check_metric, check_reward_wrapper, check_speaker, sample_views
from persona_env.testing.samples import sample_queries
from persona_env.world.scripted import ScriptedSpeaker
from tests.judges.backends import reply
from tests.models.fault_server import FaultServer
from tests.speakers import small

LINE_METRICS = [
    made
    for name in persona_env.metrics.__all__
    if isinstance(made := getattr(persona_env.metrics, name), type) and issubclass(made, LineMetric)
]
METRICS = (
    *(made() for made in LINE_METRICS if made is not LineMetric),
    Repetition(None),
    QuestionAnswer(ScriptedSpeaker()),
    QuestionAnswer(ScriptedSpeaker(), every=1, held_out=False),
)
REWARDS = [name for name in pw.__all__ if name.endswith(("Reward", "Penalty")) and name != "GymReward"]
HOMES = {"gym": pw, "vector": pw.vector, "aec": pw.aec}


@pytest.mark.parametrize("side", ["simulator", "task"])
def test_the_scripted_speaker_passes(side):
    check_speaker(ScriptedSpeaker(), side=side)


def test_the_embedded_language_model_passes():
    check_speaker(load_speaker("tiny"), views=sample_views()[::6])


@pytest.mark.parametrize("name", ["oracle", "match"])
def test_judges_that_need_no_model_pass(name):
    check_judge(load_judge(name))


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Judges that are language models: a local one of random weights, one behind a server, and an ensemble of them."""
    folder, words = tmp_path_factory.mktemp("judge"), small.tokenizer()
    made = small.model(len(words), length=2048)
    with torch.no_grad():  # it wants to say A or B
        made.lm_head.weight[words.convert_tokens_to_ids(["A", "B"])] *= 8.0
    made.save_pretrained(folder)
    words.save_pretrained(folder)
    with FaultServer(answer=reply) as server:
        local, remote = f"hf:{folder}", f"openai:{server.spec}"
        yield {"local": local, "remote": remote, "ensemble": f"ensemble:{local},{remote},oracle"}


@pytest.mark.parametrize("name", ["local", "remote", "ensemble"])
def test_judges_that_are_language_models_pass(name, specs):
    judge: Any = load_judge(specs[name])
    check_judge(judge, queries=[*sample_queries()[:12], *sample_queries()[-28::4]])
    assert judge.usage.calls >= 30
    if name != "local":
        assert {verdict.label for verdict in judge.judge(sample_queries()[:12])} >= {"consistent"}


def test_every_kind_of_judge_is_checked_somewhere():
    assert JUDGES.builtins == ("oracle", "match", "recorded", "hf", "run", "openai", "ensemble")


@pytest.mark.parametrize("metric", METRICS, ids=repr)
def test_every_metric_passes(metric):
    check_metric(metric)


@pytest.mark.parametrize("name", REWARDS)
@pytest.mark.parametrize("form", HOMES)
def test_every_reward_passes_in_every_form(name, form):
    check_reward_wrapper(getattr(HOMES[form], name), form=form)


@pytest.mark.parametrize("every", [1, 2, None])
@pytest.mark.parametrize("form", HOMES)
def test_the_reward_for_answers_passes_with_every_schedule(every, form):
    check_reward_wrapper(partial(HOMES[form].QuestionAnswerReward, every=every), form=form)


def test_every_line_metric_and_every_reward_is_among_them():
    assert (len(METRICS), len(REWARDS)) == (7 + 3, 8)
    assert all(set(REWARDS) <= set(home.__all__) for home in HOMES.values())


def test_each_metric_has_a_file_of_its_name():
    folder = Path(next(iter(persona_env.metrics.__path__)))
    assert all((folder / f"{name}.py").is_file() for name in persona_env.metrics.METRICS)


def test_the_joint_rewards_pass():
    weights = {"prompt_to_line": 1.0, "line_to_line": 0.5, "question_answer": 0.1, "copying": 0.2}
    check_reward_wrapper(partial(pw.vector.ConsistencyRewards, weights=weights, every=2), form="vector")


# --- broken speakers --------------------------------------------------------------------------------


class Replying:
    """A speaker whose replies are a function of the views and of the lines of a right speaker."""

    def __init__(self, change=lambda views, lines: lines):
        self.change = change

    def reply(self, views):
        return self.change(views, [f"Line {view.seed}." for view in views])


CALLS = itertools.count()


@pytest.mark.parametrize(("speaker", "clause"), [
    (object(), "speaker.protocol"),
    (Replying(lambda views, lines: lines or ["Hello?"]), "speaker.no_views"),
    (Replying(lambda views, lines: lines[1:]), "speaker.one_line_per_view"),
    (Replying(lambda views, lines: ["\ud83d" for _ in lines]), "speaker.text"),
    (Replying(lambda views, lines: [None for _ in lines]), "speaker.text"),
    (Replying(lambda views, lines: [f"{line} {random.random()}" for line in lines]), "speaker.own_seed_only"),
    (Replying(lambda views, lines: [f"{line} {np.random.randint(9)}" for line in lines]), "speaker.own_seed_only"),
    (Replying(lambda views, lines: [f"{line} {next(CALLS)}" for line in lines]), "speaker.own_seed_only"),
    (Replying(lambda views, lines: [f"{line} {place}" for place, line in enumerate(lines)]), "speaker.batching"),
    (Replying(lambda views, lines: [f"{line} {len(lines)}" for line in lines]), "speaker.batching"),
])  # fmt: skip
def test_a_broken_speaker_is_named(speaker, clause):
    check_speaker(Replying())
    with pytest.raises(AssertionError, match=f"^{clause}: "):
        check_speaker(speaker)


def test_a_speaker_that_is_equal_in_distribution_only_passes_as_such():
    check_speaker(Replying(lambda views, lines: [f"{line} {next(CALLS)}" for line in lines]), exact=False)


# --- broken judges ----------------------------------------------------------------------------------


class Judging:
    """A judge whose verdicts are a function of those of the oracle: of all, and of each where `when` holds."""

    def __init__(self, change=lambda verdicts: verdicts, each=lambda verdict: verdict, when=lambda query: True):
        self.oracle, self.change, self.each, self.when = load_judge("oracle"), change, each, when

    def judge(self, queries):
        verdicts = zip(queries, self.oracle.judge(queries), strict=True)
        return self.change([self.each(verdict) if self.when(query) else verdict for query, verdict in verdicts])


def each(change, when=lambda query: True):
    return Judging(each=change, when=when)


class Unnamed(Judge):
    @property
    def identity(self):
        return {"model": {"a", "set"}}

    def judge(self, queries):
        return [Verdict("invalid") for _ in queries]


def is_history(query):
    return isinstance(query, LineVsHistory)


@pytest.mark.parametrize(("judge", "clause"), [
    (object(), "judge.protocol"),
    (Unnamed(), "judge.identity"),
    (Judging(lambda verdicts: verdicts or [Verdict("consistent")]), "judge.no_queries"),
    (Judging(lambda verdicts: verdicts[1:]), "judge.one_verdict_per_query"),
    (each(lambda verdict: verdict.label), "judge.verdict"),
    (each(lambda verdict: Verdict("yes")), "judge.label"),
    (each(lambda verdict: Verdict("inconsistent", (99,)), is_history), "judge.conflicts"),
    (each(lambda verdict: Verdict("consistent", (0,)), lambda q: is_history(q) and q.earlier), "judge.conflicts"),
    (each(lambda verdict: Verdict("inconsistent", (0,))), "judge.conflicts"),
    (each(lambda verdict: Verdict(verdict.label, verdict.conflicts, probability=1.5)), "judge.probability"),
    (each(lambda verdict: Verdict("consistent")), "judge.says_nothing"),
    (each(lambda verdict: Verdict("invalid", raw=str(next(CALLS)))), "judge.same_again"),
    (Judging(lambda verdicts: [Verdict("invalid", raw=str(i)) for i, _ in enumerate(verdicts)]), "judge.batching"),
])  # fmt: skip
def test_a_broken_judge_is_named(judge, clause):
    check_judge(Judging())
    with pytest.raises(AssertionError, match=f"^{clause}: "):
        check_judge(judge)


# --- broken metrics ---------------------------------------------------------------------------------


class Scoring(PromptToLine):
    """Changes each score; `verdicts` are those that it was made from."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def score(self, conversation, verdicts):
        return self.change(super().score(conversation, verdicts), verdicts)


class OneByOne(PromptToLine):
    def __call__(self, conversations, judge=None):
        return [PromptToLine()([one], judge)[0] for one in conversations]


class Ordered(PromptToLine):
    def __call__(self, conversations, judge=None):
        scores = super().__call__(conversations, judge)
        return [*scores[:-1], Score.of([Verdict("inconsistent")] * 3)] if scores else scores


GOOD, BAD = Verdict("consistent"), Verdict("inconsistent")
TURNED = {"consistent": BAD, "inconsistent": GOOD}


class Named(PromptToLine):
    name = "prompt to line"


class Untitled(PromptToLine):
    title = ""


class Lossy(PromptToLine):
    def __call__(self, conversations, judge=None):
        return super().__call__(conversations[1:], judge)


@pytest.mark.parametrize(("metric", "clause"), [
    (object(), "metric.protocol"),
    (Named(), "metric.name"),
    (Untitled(), "metric.described"),
    (Lossy(), "metric.one_score_each"),
    (Scoring(lambda score, verdicts: replace(score, per_line=tuple(100 * v.value for v in verdicts))), "metric.range"),
    (Scoring(lambda score, verdicts: replace(score, invalid=99)), "metric.counts"),
    (Scoring(lambda score, verdicts: replace(score, value=min(1.0, score.value + 0.1))), "metric.mean"),
    (OneByOne(), "metric.one_judge_call"),
    (Scoring(lambda score, verdicts: Score.of([TURNED.get(v.label, v) for v in verdicts])), "metric.one_is_good"),
    (Ordered(), "metric.pure"),
    (Scoring(lambda score, verdicts: Score.of([v if v.label == "inconsistent" else GOOD for v in verdicts])),
     "metric.fails_closed"),
])  # fmt: skip
def test_a_broken_metric_is_named(metric, clause):
    with pytest.raises(AssertionError, match=f"^{clause}: "):
        check_metric(metric)


# --- broken reward wrappers -------------------------------------------------------------------------

NAME = "consistency/prompt_to_line"


def stepping(change, base=pw.PromptToLineReward):
    """A wrapper whose rewards and infos are a function of those of a right one."""

    class Broken(base):
        def step(self, action):
            observation, reward, terminated, truncated, info = super().step(action)
            reward, info = change(float(reward), info)
            return observation, reward, terminated, truncated, info

    return Broken


class Meddling(pw.PromptToLineReward):
    def step(self, action):
        return super().step(action + " Well.")


class Stale(pw.QuestionAnswerReward):
    """Writes its value in every later step too."""

    last = 0.0

    def step(self, action):
        *rest, info = super().step(action)
        self.last = info.get("consistency/question_answer", self.last)
        return *rest, {**info, "consistency/question_answer": self.last, "answer": ""}


class Whimsical(pw.PromptToLineReward):
    def __init__(self, env):
        super().__init__(env, weight=float(next(CALLS)) + 1.0)


class Unrecorded(gym.Wrapper):
    def __init__(self, env):
        super().__init__(pw.PromptToLineReward(env))


@pytest.mark.parametrize(("wrap", "clause"), [
    (Meddling, "wrapper.leaves_no_trace"),
    (stepping(lambda reward, info: (reward + 1.0, info), gym.Wrapper), "wrapper.pays_only_what_it_judged"),
    (gym.Wrapper, "wrapper.writes_info"),
    (stepping(lambda reward, info: (reward, {**info, NAME: 2.0})), "wrapper.values"),
    (Stale, "wrapper.pays_only_completed_lines"),
    (stepping(lambda reward, info: (1.0, {**info, NAME: float("nan")})), "wrapper.pays_only_what_it_judged"),
    (Whimsical, "wrapper.same_again"),
    (stepping(lambda reward, info: (float(info.get(NAME) == 1.0), info)), "wrapper.adds"),
    (Unrecorded, "wrapper.spec"),
    (partial(pw.PromptToLineReward, judge=Judging()), "wrapper.spec"),
])  # fmt: skip
def test_a_broken_reward_is_named(wrap, clause):
    with pytest.raises(AssertionError, match=f"^{clause}: "):
        check_reward_wrapper(wrap)


def test_a_reward_with_a_live_judge_passes_but_for_its_spec():
    check_reward_wrapper(partial(pw.PromptToLineReward, judge=Judging()), spec=False)
