"""Consistent but false: from a wrong persona, line-to-line alone makes a simulator that stands by its lies."""

import io
from importlib.resources import files
from pathlib import Path

import pytest
from rich.console import Console

from persona_env.evaluation.scoring import all_scores
from persona_env.report.drift_table import drift_table
from persona_env.runs.config import RunConfig
from persona_env.runs.result import TrainResult
from persona_env.runs.run_folder import RunFolder
from persona_env.runs.train_and_evaluate import TrainAndEvaluate
from persona_env.world.pretrain import FURTHER_PLANS, pretrain

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A base that has settled in the default persona: most of its lines are false."""
    out = tmp_path_factory.mktemp("attractor") / "base"
    tiny = Path(str(files("persona_env") / "world" / "model"))
    pretrain(out, seed=0, init=tiny, plan=FURTHER_PLANS["attractor"])
    return f"hf:{out}"


def run(simulator: str, out: Path, **more) -> TrainResult:
    settings = RunConfig(
        simulator=simulator, split="dev", dialogues=64, extended_dialogues=0, tokens=49_152, threads=1, **more
    )
    return TrainAndEvaluate(settings).run(RunFolder(out).create(), lambda stage, done, total: None)


def wrong(result: TrainResult, stage: str, name: str) -> float:
    return 1 - (all_scores(result.log)[stage].estimate(name).value or 0.0)


def test_line_to_line_alone_hides_what_the_composed_reward_repairs(settled: str, tmp_path: Path):
    alone = run(settled, tmp_path / "alone", rewards={"line_to_line": 1.0, "relevance": 0.5})
    assert wrong(alone, "before", "prompt_to_line") > 0.5  # the control starts where the failure happens
    assert wrong(alone, "after", "line_to_line") < 0.5 * wrong(alone, "before", "line_to_line")
    assert wrong(alone, "after", "prompt_to_line") > 0.5
    assert wrong(alone, "after", "question_answer") > wrong(alone, "before", "question_answer") - 0.05

    text = io.StringIO()
    Console(file=text, width=100).print(drift_table(alone.log))
    row = next(line for line in text.getvalue().splitlines() if "persona conflict" in line)
    shown = float(row.split("%")[1])
    assert shown > 50  # the table says that more than half of the lines are false, whatever line-to-line says

    composed = run(settled, tmp_path / "composed")
    assert wrong(composed, "after", "prompt_to_line") < 0.5 * wrong(alone, "after", "prompt_to_line")
    assert wrong(composed, "after", "question_answer") < 0.5 * wrong(alone, "after", "question_answer")
