"""A judge that is not sound ends a benchmark as it ends a training run; one that errs now and then ends nothing."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.judges.backends import reply
from tests.models.fault_server import FaultServer
from tests.reliability.commands import Ran, run

SHORT = ("--role", "patient", "--split", "dev", "--dialogues", "8", "--lines", "3")


def bench(server: FaultServer, *more: str | Path) -> Ran:
    return run(["bench", "scripted", *SHORT, "--judge", f"openai:{server.spec}", *more])


def erring(rate: float) -> Callable[[str], str]:
    """Returns a model that knows the grammar, and gives the opposite answer to a share of the prompts."""

    def answer(prompt: str) -> str:
        right = reply(prompt)
        errs = zlib.crc32(prompt.encode()) % 1000 < 1000 * rate
        return right.replace('"A"', '"b"').replace('"B"', '"A"').replace('"b"', '"B"') if errs else right

    return answer


def garbage(prompt: str) -> str:
    return "I would rather not say."


def always_a(prompt: str) -> str:
    """Replies in the right form, with the same letter to everything."""
    return reply(prompt).replace('"answer": "B"', '"answer": "A"')


@pytest.mark.parametrize("broken", [garbage, always_a])
def test_a_benchmark_with_a_broken_judge_shows_no_figures_and_goes_on_once_it_is_mended(
    broken: Callable[[str], str], tmp_path: Path
):
    with FaultServer(answer=broken) as server:
        for more in ((), ("--out", tmp_path / "run")):
            found = bench(server, *more)
            assert found.code in (77, 78)
            assert "persona conflict" not in found.out
            assert found.err.count("Expected") == 1
        assert not (tmp_path / "run" / "summary.json").exists()
        server.answer = reply
        assert bench(server, "--resume", tmp_path / "run").code == 0
        assert bench(server, "--out", tmp_path / "unbroken").code == 0
    figures = [json.loads((tmp_path / name / "summary.json").read_text()) for name in ("run", "unbroken")]
    assert figures[0] == figures[1]


def test_a_judge_that_is_right_in_most_of_its_queries_is_usable_and_what_it_leaves_undecided_is_shown(tmp_path: Path):
    with FaultServer(answer=erring(0.025)) as server:
        found = bench(server, "--out", tmp_path / "run")
    assert found.code == 0, found.err
    figures: dict[str, Any] = json.loads((tmp_path / "run" / "summary.json").read_text())["scripted"]
    undecided = sum(figure["undecided"] for figure in figures.values())
    assert undecided > 0
    assert sum(figure["invalid"] for figure in figures.values()) == 0
    assert f"undecided verdicts {undecided}" in " ".join(found.out.split())


def test_a_judge_that_decides_nothing_is_no_success_whatever_is_allowed(tmp_path: Path):
    personas = tmp_path / "personas.txt"
    personas.write_text("You are Ann. You keep bees.\nYou are Bo. You sail alone.\n")
    more = ["--personas", personas, "--task-agent", "interview", "--lines", "1", "--dialogues", "2"]
    judging = ["--judge", "match", "--max-invalid", "1", "--metrics", "prompt_to_line,line_to_line,copying"]
    found = run(["bench", "scripted", *more, *judging])
    assert (found.code, found.out) == (78, "")
    assert "Expected verdicts that decide in the arm 'scripted', got none of 2" in found.err
