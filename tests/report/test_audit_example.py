import runpy
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "04_audit_logs.py"


def test_the_example_finds_the_score_that_its_replies_deny(capsys: pytest.CaptureFixture[str]):
    runpy.run_path(str(EXAMPLE))["main"]([])
    out = " ".join(capsys.readouterr().out.split())
    assert "dialogue 1: P2 prompt recorded 1.0, its replies give 0.0 (inverted: it counts NO)" in out
    assert "prompt_to_line" in out


def test_the_example_is_short():
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) < 80
