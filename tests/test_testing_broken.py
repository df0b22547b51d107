"""Each clause of the kits for metrics and rewards fails on a part that breaks it."""

# The broken parts below break their types, too.
# pyright: reportIncompatibleMethodOverride=false, reportArgumentType=false

import itertools

import gymnasium as gym
import pytest

import persona_wrappers as pw
from persona_env.metrics import PromptToLine, Score
from persona_env.testing import check_metric, check_reward_wrapper


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


class Halfway(PromptToLine):
    unasked = 0.5


class Lossy(PromptToLine):
    def __call__(self, conversations, judge=None):
        return super().__call__(conversations[1:], judge)


@pytest.mark.parametrize(
    ("metric", "clause"),
    [
        (Mute(), "metric.protocol"),
        (Named(), "metric.name"),
        (Halfway(), "metric.unasked"),
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
