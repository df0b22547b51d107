"""`persona-env judge calibrate`: the table, the files, and refusals of one line that leave nothing behind."""

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from persona_env import cli
from persona_env.calibration.calibration import is_calibrated
from persona_env.calibration.label_file import Labelled, save_labels
from persona_env.cli.judge import judge_calibrate
from persona_env.judges import load_judge
from tests.evaluation.drifted import drifted_votes
from tests.io.invented import CHATTING, THERAPY, written
from tests.judges.backends import reply
from tests.models.fault_server import FaultServer


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    save_labels(tmp_path / "labels.jsonl", drifted_votes())
    return tmp_path / "labels.jsonl"


@contextlib.contextmanager
def oracle_behind_a_server() -> Iterator[str]:
    with FaultServer(answer=reply) as server:
        yield f"openai:{server.spec}"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["persona-env", "judge", "calibrate", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_the_command_prints_the_judge_beside_the_constant_one(labels: Path, monkeypatch, capsys):
    assert run(monkeypatch, "--judge", "oracle", "--labels", labels) == 0
    shown = capsys.readouterr().out
    rows = {line.strip().split("  ")[0]: line for line in shown.splitlines() if line.strip()}
    assert "patient, prompt_to_line" in shown
    assert "1.000 [0.929, 1.000]" in rows["balanced accuracy"]
    assert "0.500 [0.500, 0.500]" in rows["balanced accuracy"]
    assert rows["AUROC"].split()[1] == "-"
    for name in ("invalid", "undecided"):
        assert rows[name].split()[1:] == ["0", "(0.0%)", "0", "(0.0%)"]
    said = " ".join(shown.split())
    assert "labels.jsonl: 264 labels by labels of our own" in said
    assert "Usable as a reward for patient prompt_to_line, patient line_to_line. The rule: the lower end" in said


def test_what_it_writes_can_be_asked_later(labels: Path, tmp_path: Path, monkeypatch):
    out, figures = tmp_path / "out", tmp_path / "figures.json"
    assert run(monkeypatch, "--judge", "oracle", "--labels", labels, "--out", out, "--json", figures) == 0
    identity = load_judge("oracle").identity
    assert is_calibrated(out, identity, "patient")
    assert is_calibrated(figures, identity, "patient")
    assert json.loads(figures.read_text()) == json.loads((out / "calibration.json").read_text())
    verdicts = [json.loads(line) for line in (out / "verdicts.jsonl").read_text().splitlines()]
    assert len(verdicts) == 264
    assert all(row["label"] == row["verdict"] for row in verdicts)


def test_a_judge_that_knows_nothing_is_called_unusable(labels: Path, tmp_path: Path, monkeypatch, capsys):
    log = written(tmp_path, THERAPY)
    assert run(monkeypatch, "--judge", f"recorded:{log}", "--labels", labels) == 78
    said, error = capsys.readouterr()
    assert "Not usable as a reward. Not for patient prompt_to_line (none of its verdicts" in " ".join(said.split())
    assert "accuracy -" in " ".join(said.split())
    assert "Expected verdicts that decide in the calibration, got none of 264" in error


def test_several_files_and_annotators_are_named(labels: Path, tmp_path: Path, monkeypatch, capsys):
    votes = list(drifted_votes())
    other = [Labelled(v.question, "consistent", v.persona_id, "ann [/oops]") for v in votes[:40]]
    save_labels(tmp_path / "ann.jsonl", other)
    chats = written(tmp_path, CHATTING)
    assert (
        run(monkeypatch, "--judge", "oracle", "--labels", labels, "--labels", tmp_path / "ann.jsonl", "--labels", chats)
        == 0
    )
    said = " ".join(capsys.readouterr().out.split())
    assert "annotators agree at Krippendorff's alpha" in said
    assert "on 40 questions (ann [/oops]; unnamed)" in said
    assert "their annotators are evenly divided" in said
    assert "log.json: 6 labels by recorded judge, raw replies read by the published fail-open rule" in said
    assert "the labels are all of one class" not in said.split("Not for")[0]


def test_a_role_and_a_limit_narrow_it_down(labels: Path, tmp_path: Path, monkeypatch, capsys):
    save_labels(tmp_path / "students.jsonl", drifted_votes(role="student"))
    arguments = ["--judge", "oracle", "--labels", labels, "--labels", tmp_path / "students.jsonl"]
    assert run(monkeypatch, *arguments, "--role", "student", "--limit", 50) == 0
    shown = capsys.readouterr().out
    assert "student, prompt_to_line" in shown
    assert "patient" not in shown
    assert shown.count("50 say consistent") == 2


def test_what_stands_in_the_cache_is_not_asked_again(labels: Path, tmp_path: Path, monkeypatch, capsys):
    with oracle_behind_a_server() as spec:
        judge = f"ensemble:{spec},{spec},oracle"
        arguments = ["--judge", judge, "--labels", labels, "--limit", 5, "--judge-cache", tmp_path / "cache.sqlite"]
        assert run(monkeypatch, *arguments, "--json", tmp_path / "first.json") == 0
    assert run(monkeypatch, *arguments, "--json", tmp_path / "again.json") == 0  # nobody listens any more
    assert (tmp_path / "again.json").read_text() == (tmp_path / "first.json").read_text()
    assert "3 members agree at Krippendorff's alpha 1.000 on 20 questions" in " ".join(capsys.readouterr().out.split())


def test_the_same_seed_draws_the_same_questions(labels: Path):
    first, second, other = (
        judge_calibrate(judge="oracle", labels=[labels], limit=20, seed=seed).as_json() for seed in (3, 3, 4)
    )
    assert first == second
    assert first["labels"]["digest"] != other["labels"]["digest"]


def test_bad_input_is_one_line_and_leaves_nothing(labels: Path, tmp_path: Path, monkeypatch, capsys):
    one_class = tmp_path / "good.jsonl"
    save_labels(one_class, [v for v in drifted_votes() if v.label == "consistent"])
    bad = {
        "Expected labels of both classes": ["--judge", "oracle", "--labels", one_class],
        "Expected a judge": ["--judge", "gut-feeling", "--labels", labels],
        "Expected a file at": ["--judge", "oracle", "--labels", tmp_path / "missing.jsonl"],
        "Expected limit >= 1": ["--judge", "oracle", "--labels", labels, "--limit", 0],
        "Expected role to be one of": ["--judge", "oracle", "--labels", labels, "--role", "pilot"],
        "Expected labels about student": ["--judge", "oracle", "--labels", labels, "--role", "student"],
    }
    for message, arguments in bad.items():
        assert run(monkeypatch, *arguments, "--out", tmp_path / "out") == 2
        error = capsys.readouterr().err.strip()
        assert error.startswith(f"persona-env: {message}"), error
        assert "\n" not in error
        assert not (tmp_path / "out").exists()
