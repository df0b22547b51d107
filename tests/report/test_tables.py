"""What is shown of an evaluation log: one table with its guards, and a dialogue with its drift marked."""

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from persona_env.evaluation import Arm, EvalLog, EvalSuite, Sample, judge_samples, play
from persona_env.evaluation.eval_log import Header, JudgeInfo
from persona_env.judges import load_judge
from persona_env.metrics.statistics import Interval
from persona_env.report.drift_table import _change, drift_table, log_table, simulator_table
from persona_env.report.transcript import before_and_after, transcript
from persona_env.runs.config import RunConfig
from persona_env.runs.result import TrainResult, summary
from persona_env.speakers import load_speaker

SUITE = EvalSuite(role="patient", split="dev", dialogues=6, lines=4)
NAME = "hf:[/oops] [bold]folder"


@pytest.fixture(scope="module")
def log() -> EvalLog:
    """As if training had turned the embedded model into the speaker that never drifts."""
    found = EvalLog(Header.now("train", SUITE, JudgeInfo("oracle"), {"algorithm": "ppo"}))
    speakers = {"before": "tiny", "after": "scripted", "train_personas": "tiny", "drift_free": "scripted"}
    for name, speaker in speakers.items():
        samples = judge_samples(play(load_speaker(speaker), SUITE), load_judge("oracle"), SUITE.metrics)
        found = found.with_arm(Arm(name=name, simulator=NAME, suite=SUITE, samples=samples))
    return found


def shown(thing, width: int = 80) -> str:
    text = io.StringIO()
    Console(file=text, width=width).print(thing)
    return text.getvalue()


def test_the_table_shows_drift_and_every_guard_beside_it(log: EvalLog):
    rows = {line[:34].strip(): line for line in reversed(shown(log_table(log)).splitlines())}
    assert "  0.0 %" in rows["persona conflict (prompt-to-line)"]
    assert "-100.0 %" in rows["persona conflict (prompt-to-line)"]
    for guard in ("relevant lines", "repeated lines", "hedging, where unlisted", "words a line", "undecided verdicts"):
        assert guard in rows
    assert rows["lines that recite the persona"].split()[-6:] == ["0.0", "%"] * 3
    assert all(len(line) <= 80 for line in rows.values())
    assert _change(Interval(1.0, 0.9971, 1.0, 128)) == ("-100.0 %", "-100 to -99 %")


def test_dialogues_that_end_early_and_lines_that_were_cut_are_shown_beside_the_lines_asked_for(log: EvalLog):
    def ended(sample: Sample) -> Sample:
        said = tuple(replace(m, note="cut") if m.side == "simulator" else m for m in sample.conversation.messages[:2])
        short = {name: found[:1] for name, found in sample.verdicts.items()}
        return Sample(replace(sample.conversation, messages=said), (), {**short, "question_answer": ()})

    early = replace(log.arms[1], samples=tuple(map(ended, log.arms[1].samples)))
    text = shown(log_table(replace(log, arms=(log.arms[0], early, *log.arms[2:]))), 100)
    rows = {line[:34].strip(): line.split() for line in reversed(text.splitlines())}
    assert (rows["lines judged"][-2:], rows["lines asked for"][-2:]) == (["23", "6"], ["24", "24"])
    assert rows["lines cut at the other's name"][-2:] == ["0", "6"]
    assert rows["lines said of those asked for"][-6:] == ["100.0", "%", "25.0", "%", "100.0", "%"]
    assert "-" in rows["self-contradiction (line-to-line)"], "nothing was judged: no success"


@pytest.mark.parametrize("names", [["mine", "base"], ["mine", "base", "third"]])
def test_simulators_are_told_apart_in_60_characters_and_no_figure_is_cut_short(log: EvalLog, names: list[str]):
    arms = tuple(replace(log.arms[0], name=name, simulator=f"hf:{name}") for name in names)
    text = shown(simulator_table(EvalLog(replace(log.header, command="bench"), arms)), 60)
    assert "\u2026" not in text
    assert names in [line.split() for line in text.splitlines()]
    wide = shown(simulator_table(EvalLog(replace(log.header, command="bench"), arms)), 300)
    intervals = re.findall(r"\([\d.]+-[\d.]+\)", wide)
    assert len(intervals) >= 10 * len(names)
    assert [*text.split()].count("%") == wide.split().count("%")
    assert {*intervals} <= {*text.split()}


def test_names_with_markup_in_them_are_shown_as_they_are(log: EvalLog):
    assert NAME in shown(drift_table(log))
    arms = (replace(log.arms[0], name="[/b]x"),)
    bench = replace(log, header=replace(log.header, command="bench", judge=JudgeInfo("[/title]")), arms=arms)
    assert shown(log_table(bench)) == shown(simulator_table(bench))
    assert "[/b]x" in shown(log_table(bench))
    assert "judged by [/title]" in " ".join(shown(log_table(bench)).split())


def test_a_result_without_an_after_has_no_reduction(log: EvalLog):
    early = replace(log, arms=log.arms[:1])
    found = summary(TrainResult(RunConfig(), early, ended=KeyboardInterrupt()))
    assert (found["status"], found["after"], found["reduction"]) == ("interrupted", None, None)
    assert found["generalisation_gap"] == {}
    assert found["before"]["prompt_to_line"]["n"] == 24 - found["before"]["prompt_to_line"]["invalid"]
    assert "drift over" not in shown(drift_table(early))
    assert "nothing yet" in shown(drift_table(replace(log, arms=())))
    assert before_and_after(early) is None


def test_the_transcript_marks_the_lines_that_drift(log: EvalLog):
    for sample in log.arms[0].samples:
        text = transcript(sample, log.header.metrics)
        bad = [verdict.label == "inconsistent" for verdict in sample.verdicts["prompt_to_line"]]
        assert text.count("contradicts its persona") == sum(bad)
        assert text.splitlines()[0] == sample.conversation.persona.prompt


def test_the_example_is_the_dialogue_in_which_the_most_changed(log: EvalLog):
    before, after = (before_and_after(log) or "").split("--- after training ---")
    assert "<--" in before
    assert "<--" not in after
