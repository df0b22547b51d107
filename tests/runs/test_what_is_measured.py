"""A run measures what it says: the same personas, seeds and task agent before and after, personas by their split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from persona_env.calibration.calibration import FILE, calibrate
from persona_env.calibration.label_file import Labelled
from persona_env.calibration.labels import Labels
from persona_env.evaluation import EvalLog, reductions, scores
from persona_env.evaluation.eval_log import load_eval_log
from persona_env.io.persona_file import save_personas
from persona_env.judges import AnswerVsGold, Judge, LineVsHistory, LineVsPersona, LineVsPrevious, Query, Verdict
from persona_env.metrics.statistics import clustered_share, reduction
from persona_env.runs.config import RunConfig
from persona_env.runs.run_judge import RunJudge
from persona_env.runs.train_and_evaluate import TrainAndEvaluate
from persona_env.world import personas
from tests.runs.runs import SMALL, go

TINY: dict[str, Any] = dict(tokens=1, envs=2, steps=8, batch=16, extended_dialogues=0)
DEV, TRAIN = personas("patient", "dev")[:3], personas("patient", "train")[:2]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that learns next to nothing, with fewer personas than dialogues."""
    folder = tmp_path_factory.mktemp("measured")
    save_personas(folder / "personas.jsonl", [*DEV, *TRAIN], ["dev"] * 3 + ["train"] * 2)
    more: dict[str, Any] = dict(TINY, learning_rate=1e-12, dialogues=8)
    assert go(folder / "run", personas=str(folder / "personas.jsonl"), **more).exit_code == 0
    return folder / "run"


@pytest.fixture(scope="module")
def log(run: Path) -> EvalLog:
    return load_eval_log(run)


@pytest.fixture(scope="module")
def summary(run: Path) -> dict[str, Any]:
    return json.loads((run / "summary.json").read_text())


def of(log: EvalLog, arm: str) -> list[str]:
    found = log.arm(arm)
    assert found
    return [sample.conversation.persona.id for sample in found.samples]


def test_before_and_after_differ_in_the_simulator_alone(log: EvalLog):
    """Another seed, sampler, persona set, task agent or probe after training would change these dialogues."""
    before, after = log.arm("before"), log.arm("after")
    assert before
    assert after
    assert before.suite == after.suite
    assert [sample.conversation for sample in before.samples] == [sample.conversation for sample in after.samples]
    assert [sample.answers for sample in before.samples] == [sample.answers for sample in after.samples]


def test_each_stage_is_measured_on_the_personas_that_it_names(log: EvalLog, summary: dict[str, Any]):
    dev, train = {persona.id for persona in DEV}, {persona.id for persona in TRAIN}
    for stage in ("before", "after"):
        assert set(of(log, stage)) == dev
    assert set(of(log, "train_personas")) == train
    assert summary["heldout_personas"] == sorted(dev)
    assert not train & dev
    seen = log.arm("train_personas")
    assert seen
    values = {name: scores(seen, log.header.metrics).estimate(name).value for name in ("prompt_to_line", "relevance")}
    assert {name: summary["train_personas"][name]["value"] for name in values} == values


def test_intervals_and_reductions_are_over_personas(log: EvalLog, summary: dict[str, Any]):
    before, after = (scores(arm, log.header.metrics) for arm in log.arms if arm.name in ("before", "after"))
    whose = of(log, "before")
    assert len(set(whose)) == 3 < len(whose)
    for name, found in summary["before"].items():
        if name in before.metrics and found["low"] is not None:
            rows = before.metrics[name]
            values, counts = [row.value for row in rows], [row.n for row in rows]
            over = [clustered_share(values, clusters, counts) for clusters in (whose, range(len(rows)))]
            assert (found["low"], found["high"]) == (over[0].low, over[0].high), name
            assert over[0].low != over[1].low, "dialogues of one persona hang together"
    for name, interval in reductions(before, after).items():
        b, a = (found.inconsistency(name) for found in (before, after))
        over = reduction(b, a, whose, whose, before.n(name), after.n(name))
        assert (interval.low, interval.high, interval.n) == (over.low, over.high, 3)
        assert summary["reduction"][name]["low"] == interval.low


class Careful(Judge):
    """An exact judge for those who know it: a label stands in the line."""

    def judge(self, queries):
        texts = [query.answer if isinstance(query, AnswerVsGold) else query.line for query in queries]
        return [Verdict("consistent" if "good" in text else "inconsistent") for text in texts]


def labels(kind: str) -> Labels:
    """Labels of one kind of question, which `Careful` gets right."""
    items = list[Labelled]()
    for number, persona in enumerate(personas("patient", "dev")[:24]):
        for said, label in ((f"good {number}", "consistent"), (f"bad {number}", "inconsistent")):
            queries: dict[str, Query] = {
                "prompt_to_line": LineVsPersona(persona, said),
                "line_to_line": LineVsHistory("patient", said, ("Hm.",)),
                "relevance": LineVsPrevious(persona, "And?", said),
            }
            items.append(Labelled(queries[kind], label, persona.id))  # pyright: ignore[reportArgumentType]
    return Labels(tuple(items))


def test_a_judge_is_called_calibrated_only_where_it_was_found_usable_for_all_that_it_pays(tmp_path: Path):
    judged: dict[str, Any] = {**SMALL, "judge": "openai:some-model@http://127.0.0.1:9/v1"}

    def is_calibrated(role: str = "patient", **more: Any) -> bool:
        config = RunConfig.from_flat({**judged, **more})
        return RunJudge.from_settings(config).is_calibrated(config.judge_calibration, role, config.rewards)

    def header_says_so(**more: Any) -> bool:
        return TrainAndEvaluate(RunConfig.from_flat({**judged, **more})).result.log.header.judge.is_calibrated

    identity = RunJudge.from_settings(RunConfig.from_flat(judged)).identity
    found = calibrate(Careful(), labels("prompt_to_line")).as_json()
    assert found["rows"][0]["usable"]
    (tmp_path / FILE).write_text(json.dumps({**found, "identity": dict(identity)}))
    (tmp_path / "other.json").write_text(json.dumps(found))
    one: dict[str, Any] = {"rewards": {"prompt_to_line": 1.0, "repetition": 0.5}}
    assert not is_calibrated(**one)
    assert is_calibrated(**one, judge_calibration=str(tmp_path))
    assert header_says_so(**one, judge_calibration=str(tmp_path))
    assert not header_says_so(**one)
    assert not is_calibrated(**one, judge_calibration=str(tmp_path / "other.json")), "of another judge"
    assert not is_calibrated(rewards={"prompt_to_line": 1.0, "relevance": 1.0}, judge_calibration=str(tmp_path))
    assert not is_calibrated(**one, role="student", judge_calibration=str(tmp_path))
    assert is_calibrated(judge="oracle")


def test_a_run_that_goes_on_says_what_was_true_when_it_began(run: Path, tmp_path: Path):
    """The time of its begin, the packages of then, and whether its judge was calibrated."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("persona_env.evaluation.eval_log._versions", lambda: {"python": "of then"})
        folder = tmp_path / "run"
        more: dict[str, Any] = dict(TINY, dialogues=2)

        def stop(stage: str, done: int, total: int) -> None:
            if stage == "after":
                raise KeyboardInterrupt

        assert go(folder, stop, **more).exit_code == 130
    begun = load_eval_log(folder).header
    assert go(folder, **more).exit_code == 0
    assert load_eval_log(folder).header == begun
    assert json.loads((folder / "summary.json").read_text())["versions"] == {"python": "of then"}
