"""Every part of ours passes its kit; and each clause of a kit fails on a part that breaks it."""

# The broken parts below break their types, too.
# pyright: reportIncompatibleMethodOverride=false, reportArgumentType=false

import itertools
import random
from collections.abc import Iterator
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
from tests.models.fault_server import FaultServer
from tests.reliability.oracle_server import reply
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
JOINT = partial(
    pw.vector.ConsistencyRewards,
    weights={"prompt_to_line": 1.0, "line_to_line": 0.5, "question_answer": 0.1, "copying": 0.2},
    every=2,
)


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
    assert JUDGES.builtins == ("oracle", "match", "recorded", "hf", "openai", "ensemble")


@pytest.mark.parametrize("metric", METRICS, ids=repr)
def test_every_metric_passes(metric):
    check_metric(metric)


@pytest.mark.parametrize(("name", "form"), list(itertools.product(REWARDS, HOMES)))
def test_every_reward_passes_in_every_form(name, form):
    check_reward_wrapper(getattr(HOMES[form], name), form=form)


@pytest.mark.parametrize(("every", "form"), list(itertools.product([1, 2, None], HOMES)))
def test_the_reward_for_answers_passes_with_every_schedule(every, form):
    check_reward_wrapper(partial(HOMES[form].QuestionAnswerReward, every=every), form=form)


def test_every_line_metric_and_every_reward_is_among_them():
    assert len(METRICS) == 5 + 3
    assert len(REWARDS) == 6
    for home in HOMES.values():
        assert set(REWARDS) <= set(home.__all__)


def test_each_metric_has_a_file_of_its_name():
    for name in persona_env.metrics.METRICS:
        assert (Path(next(iter(persona_env.metrics.__path__))) / f"{name}.py").is_file()


def test_the_joint_rewards_pass():
    check_reward_wrapper(JOINT, form="vector")


# --- broken speakers --------------------------------------------------------------------------------


class Plain:
    def reply(self, views):
        return [f"Line {view.seed}." for view in views]


class Mute:
    pass


class Eager(Plain):
    def reply(self, views):
        return super().reply(views) or ["Hello?"]


class Short(Plain):
    def reply(self, views):
        return super().reply(views)[1:]


class Halved(Plain):
    def reply(self, views):
        return ["\ud83d" for _ in views]


class Silent(Plain):
    def reply(self, views):
        return [None for _ in views]


class Global(Plain):
    def reply(self, views):
        return [f"{line} {random.random()}" for line in super().reply(views)]


class GlobalNumbers(Plain):
    def reply(self, views):
        return [f"{line} {np.random.randint(9)}" for line in super().reply(views)]


class Remembering(Plain):
    calls = 0

    def reply(self, views):
        self.calls += bool(views)
        return [f"{line} {self.calls}" for line in super().reply(views)]


class FirstComesFirst(Plain):
    def reply(self, views):
        return [f"{line} {place}" for place, line in enumerate(super().reply(views))]


class Crowded(Plain):
    def reply(self, views):
        return [f"{line} {len(views)}" for line in super().reply(views)]


@pytest.mark.parametrize(
    ("speaker", "clause"),
    [
        (Mute(), "speaker.protocol"),
        (Eager(), "speaker.no_views"),
        (Short(), "speaker.one_line_per_view"),
        (Halved(), "speaker.text"),
        (Silent(), "speaker.text"),
        (Global(), "speaker.own_seed_only"),
        (GlobalNumbers(), "speaker.own_seed_only"),
        (Remembering(), "speaker.own_seed_only"),
        (FirstComesFirst(), "speaker.batching"),
        (Crowded(), "speaker.batching"),
    ],
    ids=lambda part: type(part).__name__,
)
def test_a_broken_speaker_is_named(speaker, clause):
    check_speaker(Plain())
    with pytest.raises(AssertionError, match=f"^{clause}: "):
        check_speaker(speaker)


def test_a_speaker_that_is_equal_in_distribution_only_passes_as_such():
    check_speaker(Remembering(), exact=False)


# --- broken judges ----------------------------------------------------------------------------------


class Fair:
    def __init__(self, change=None, when=lambda query: True):
        self.inside, self.change, self.when = load_judge("oracle"), change, when

    def judge(self, queries):
        verdicts = self.inside.judge(queries)
        if self.change is None:
            return verdicts
        return [self.change(v) if self.when(q) else v for q, v in zip(queries, verdicts, strict=True)]


class Miscounting(Fair):
    def judge(self, queries):
        return super().judge(queries)[1:]


class EagerJudge(Fair):
    def judge(self, queries):
        return super().judge(queries) or [Verdict("consistent")]


class Moody(Fair):
    calls = 0

    def judge(self, queries):
        self.calls += bool(queries)
        return [Verdict("invalid", raw=str(self.calls)) for _ in queries]


class Ranking(Fair):
    def judge(self, queries):
        return [Verdict("invalid", raw=str(place)) for place, _ in enumerate(queries)]


class Unnamed(Judge):
    @property
    def identity(self):
        return {"model": {"a", "set"}}

    def judge(self, queries):
        return [Verdict("invalid") for _ in queries]


def is_history(query):
    return isinstance(query, LineVsHistory)


@pytest.mark.parametrize(
    ("judge", "clause"),
    [
        (Mute(), "judge.protocol"),
        (Unnamed(), "judge.identity"),
        (EagerJudge(), "judge.no_queries"),
        (Miscounting(), "judge.one_verdict_per_query"),
        (Fair(lambda verdict: verdict.label), "judge.verdict"),
        (Fair(lambda verdict: Verdict("yes")), "judge.label"),
        (Fair(lambda verdict: Verdict("inconsistent", (99,)), is_history), "judge.conflicts"),
        (Fair(lambda verdict: Verdict("consistent", (0,)), lambda q: is_history(q) and q.earlier), "judge.conflicts"),
        (Fair(lambda verdict: Verdict("inconsistent", (0,))), "judge.conflicts"),
        (Fair(lambda verdict: Verdict(verdict.label, verdict.conflicts, probability=1.5)), "judge.probability"),
        (Fair(lambda verdict: Verdict("consistent")), "judge.says_nothing"),
        (Moody(), "judge.same_again"),
        (Ranking(), "judge.batching"),
    ],
)
def test_a_broken_judge_is_named(judge, clause):
    check_judge(Fair())
    with pytest.raises(AssertionError, match=f"^{clause}: "):
        check_judge(judge)


# --- broken metrics ---------------------------------------------------------------------------------


class Backwards(PromptToLine):
    def score(self, conversation, verdicts):
        return Score.of([1.0 - verdict.value for verdict in verdicts])


class FailsOpen(PromptToLine):
    def score(self, conversation, verdicts):
        return Score.of([float(verdict.label != "inconsistent") for verdict in verdicts])


class Generous(PromptToLine):
    def score(self, conversation, verdicts):
        score = super().score(conversation, verdicts)
        return Score(min(1.0, score.value + 0.1), score.per_line, score.n, score.invalid)


class Percent(PromptToLine):
    def score(self, conversation, verdicts):
        return Score.of([100 * verdict.value for verdict in verdicts])


class Forgetful(PromptToLine):
    def score(self, conversation, verdicts):
        score = super().score(conversation, verdicts)
        return Score(score.value, score.per_line, score.n, 1)


class OneByOne(PromptToLine):
    def __call__(self, conversations, judge=None):
        return [super(OneByOne, self).__call__([one], judge)[0] for one in conversations]


class Ordered(PromptToLine):
    def __call__(self, conversations, judge=None):
        scores = super().__call__(conversations, judge)
        return [*scores[:-1], Score.of((0.0, 0.0, 0.0))] if scores else scores


class Named(PromptToLine):
    name = "prompt to line"


class Untitled(PromptToLine):
    title = ""


class Lossy(PromptToLine):
    def __call__(self, conversations, judge=None):
        return super().__call__(conversations[1:], judge)


@pytest.mark.parametrize(
    ("metric", "clause"),
    [
        (Mute(), "metric.protocol"),
        (Named(), "metric.name"),
        (Untitled(), "metric.described"),
        (Lossy(), "metric.one_score_each"),
        (Percent(), "metric.range"),
        (Forgetful(), "metric.counts"),
        (Generous(), "metric.mean"),
        (OneByOne(), "metric.one_judge_call"),
        (Backwards(), "metric.one_is_good"),
        (Ordered(), "metric.pure"),
        (FailsOpen(), "metric.fails_closed"),
    ],
    ids=lambda part: type(part).__name__,
)
def test_a_broken_metric_is_named(metric, clause):
    with pytest.raises(AssertionError, match=f"^{clause}: "):
        check_metric(metric)


# --- broken reward wrappers -------------------------------------------------------------------------


class Meddling(pw.PromptToLineReward):
    def step(self, action):
        return super().step(action + " Well.")


class Wage(gym.Wrapper):
    def step(self, action):
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, float(reward) + 1.0, terminated, truncated, info


class Unwritten(gym.Wrapper):
    """Keeps its judgement to itself."""


class Unbounded(pw.PromptToLineReward):
    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated, truncated, {**info, "consistency/prompt_to_line": 2.0}


class Stale(pw.QuestionAnswerReward):
    """Writes its value in every later step too."""

    last = 0.0

    def step(self, action):
        *rest, info = super().step(action)
        self.last = info.get("consistency/question_answer", self.last)
        return *rest, {**info, "consistency/question_answer": self.last, "answer": ""}


class PaysUnreadable(pw.PromptToLineReward):
    def step(self, action):
        observation, _, terminated, truncated, info = super().step(action)
        return observation, 1.0, terminated, truncated, {**info, "consistency/prompt_to_line": float("nan")}


class Replacing(pw.PromptToLineReward):
    """Forgets what the environment inside has paid."""

    def step(self, action):
        *before, info = super().step(action)
        before[1] = info.get("consistency/prompt_to_line", 0.0)
        return *before, info


class Whimsical(pw.PromptToLineReward):
    made = itertools.count()

    def __init__(self, env):
        super().__init__(env, weight=float(next(self.made)) + 1.0)


class Unrecorded(gym.Wrapper):
    def __init__(self, env):
        super().__init__(pw.PromptToLineReward(env))


@pytest.mark.parametrize(
    ("wrap", "clause"),
    [
        (Meddling, "wrapper.leaves_no_trace"),
        (Wage, "wrapper.pays_only_what_it_judged"),
        (Unwritten, "wrapper.writes_info"),
        (Unbounded, "wrapper.values"),
        (Stale, "wrapper.pays_only_completed_lines"),
        (PaysUnreadable, "wrapper.pays_only_what_it_judged"),
        (Whimsical, "wrapper.same_again"),
        (Replacing, "wrapper.adds"),
        (Unrecorded, "wrapper.spec"),
        (lambda env: pw.PromptToLineReward(env, judge=Fair()), "wrapper.spec"),
    ],
)
def test_a_broken_reward_is_named(wrap, clause):
    with pytest.raises(AssertionError, match=f"^{clause}: "):
        check_reward_wrapper(wrap)


def test_a_reward_with_a_live_judge_passes_but_for_its_spec():
    check_reward_wrapper(lambda env: pw.PromptToLineReward(env, judge=Fair()), spec=False)
