"""`play`: somebody, or a task agent, talks to a simulator of a persona that is chosen, and each line is judged."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from persona_env.world import personas
from tests.cli.test_bench import agreeing
from tests.models.fault_server import FaultServer
from tests.test_cli import run


@pytest.fixture
def people(tmp_path: Path) -> Path:
    path = tmp_path / "people.txt"
    path.write_text("You are Ann. You keep bees.\nYou are Bo. You keep cats.\nYou are Cy.")
    return path


def test_a_task_agent_talks_instead_of_somebody(monkeypatch, capsys):
    """With the same seed it is the same talk; the persona is the one that is asked for."""
    someone = personas("student", "dev")[3]
    arguments = ["play", "--simulator", "scripted", "--role", "student", "--split", "dev", "--task-agent", "scripted"]
    shown = []
    for persona, seed in ((someone.id, 5), (someone.id, 5), (someone.id, 6)):
        assert run([*arguments, "--persona", persona, "--seed", str(seed), "--lines", "3"], monkeypatch) == 0
        shown.append(capsys.readouterr().out.rpartition(" lines in ")[0])
    assert shown[0].count("teacher> ") == shown[0].count("student> ") == shown[0].count("+ prompt-to-line") == 3
    assert someone.name in shown[0]
    assert shown[0] == shown[1] != shown[2]


def test_own_personas_are_talked_to_and_lines_are_bounded(people: Path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("Hello.\nWhat do you keep?\nAnd then?\n"))
    with FaultServer(answer=lambda user: agreeing("patient")(user) if '"id"' in user else "x" * 99) as server:
        served = f"openai:{server.spec}"
        arguments = ["play", "--simulator", served, "--personas", people, "--judge", served, "--max-tokens", "4"]
        with pytest.warns(UserWarning, match="canaries: none"):
            assert run([*arguments, "--persona", "people/0001", "--lines", "2"], monkeypatch) == 0
    shown = capsys.readouterr().out
    assert "You keep cats" in shown
    assert shown.count("patient> " + "x" * 64 + "\n") == 2
    assert "An empty line ends it." in shown
    assert "2 lines in" in shown
    assert {call.sent["max_tokens"] for call in server.calls if "response_format" not in call.sent} == {4}
    assert "is not calibrated" in shown


def test_a_judge_that_decides_nothing_is_an_error(people: Path, monkeypatch, capsys):
    with FaultServer(answer=lambda user: "Well.") as server:
        arguments = ["play", "--simulator", "scripted", "--split", "dev", "--task-agent", "scripted", "--lines", "1"]
        assert run([*arguments, "--judge", f"openai:{server.spec}"], monkeypatch) == 78
    assert "Expected verdicts that decide in the talk, got none" in capsys.readouterr().err


@pytest.mark.parametrize(("more", "says"), [
    (["--persona", "nobody"], "Expected the id of a persona"),
    (["--lines", "0"], "Expected lines >= 1"),
    (["--max-tokens", "0"], "Expected max_tokens >= 1"),
    (["--personas", "nowhere.txt"], "Expected personas to be"),
    (["--task-agent", "parrot"], "Expected a speaker among"),
])  # fmt: skip
def test_bad_input_is_one_line(more: list[str], says: str, monkeypatch, capsys):
    assert run(["play", "--simulator", "scripted", *more], monkeypatch) == 2
    error = capsys.readouterr().err.strip()
    assert says in error
    assert "\n" not in error
