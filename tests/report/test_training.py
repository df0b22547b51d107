"""What a person sees after training: one table with its guards, and a dialogue with its drift marked."""

import io

import pytest
from rich.console import Console

from persona_env.evaluation.eval_suite import EvalSuite
from persona_env.evaluation.rollout import play
from persona_env.evaluation.scoring import score
from persona_env.judges import load_judge
from persona_env.report.drift_table import drift_table, simulator_table
from persona_env.report.transcript import telling_example, transcript
from persona_env.runs.config import RunConfig
from persona_env.runs.judge_costs import JudgeCosts
from persona_env.runs.result import Comparison, Measured, TrainResult
from persona_env.speakers import load_speaker


def measured(simulator: str) -> Measured:
    suite = EvalSuite(role="patient", split="dev", dialogues=6, lines=4)
    played = play(load_speaker(simulator), suite)
    return Measured(suite, played, score(played, load_judge("oracle")))


@pytest.fixture(scope="module")
def result() -> TrainResult:
    """As if training had turned the embedded model into the speaker that never drifts."""
    found = TrainResult(RunConfig(split="dev", simulator="hf:[/oops] [bold]folder"))
    found.measured |= {"before": measured("tiny"), "after": measured("scripted"), "drift_free": measured("scripted")}
    return found


def shown(thing, width: int = 80) -> str:
    text = io.StringIO()
    Console(file=text, width=width).print(thing)
    return text.getvalue()


def test_the_table_shows_drift_and_every_guard_beside_it(result: TrainResult):
    rows = {line[:24].strip(): line for line in shown(drift_table(result)).splitlines()}
    assert rows["against its persona"].split()[-8:-6] == ["0.0", "%"]
    assert "-100.0 %" in rows["against its persona"]
    for guard in ("relevance", "copying", "repetition", "hedging, where unlisted", "words a line", "lines judged"):
        assert guard in rows
    assert all(len(line) <= 80 for line in rows.values())


def test_names_with_markup_in_them_are_shown_as_they_are(result: TrainResult):
    assert "[/oops] [bold]folder" in shown(drift_table(result))
    comparison = result.trained
    assert isinstance(comparison, Comparison)
    assert "[/b]x" in shown(simulator_table("[/title]", {"[/b]x": comparison.before.scores}))


def test_an_outcome_without_an_after_has_no_reduction():
    early = TrainResult(RunConfig(), measured={"before": measured("tiny")}, interrupted=True)
    summary = early.as_json()
    assert (summary["status"], summary["after"], summary["reduction"], summary["gap"]) == (
        "interrupted",
        None,
        None,
        {},
    )
    assert summary["before"]["prompt_to_line"]["n"] == 24
    assert "drift over" not in shown(drift_table(early))


def test_the_summary_says_what_the_judge_cost_and_how_it_did():
    costs = JudgeCosts(calls=70, tokens=900, cache_hits=3, canaries=5, canaries_failed=1, pairs=8, agreed=6, damaged=2)
    summary = TrainResult(RunConfig(judge_budget="calls=99"), judge_costs=costs, invalid=4).as_json()["judge_usage"]
    assert summary == {
        "calls": 70, "tokens": 900, "cache_hits": 3, "canaries": 5, "canaries_failed": 1, "pairs": 8, "agreed": 6,
        "damaged": 2, "agreement": 0.75, "budget": {"calls": 99}, "invalid": 4,
    }  # fmt: skip
    assert JudgeCosts.of(summary) == costs


def test_the_transcript_marks_the_lines_that_drift(result: TrainResult):
    comparison = result.trained
    assert comparison is not None
    place = telling_example(comparison.before.scores, comparison.after.scores)
    before = transcript(comparison.before.played[place], comparison.before.scores, place)
    after = transcript(comparison.after.played[place], comparison.after.scores, place)
    values = comparison.before.scores.dialogues["prompt_to_line"][place].per_line
    assert before.count("against its persona") == sum(value == 0 for value in values) > 0
    assert "<--" not in after
    assert after.splitlines()[0] == comparison.after.played[place].conversation.persona.prompt
