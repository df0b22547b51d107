"""However a command ends, it is told in one line, with an exit code of its own; only a bug is a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from persona_env.cli import bench
from persona_env.conversation import View
from persona_env.errors import InputError
from persona_env.runs.run_judge import REPLIES
from persona_env.scenario import load_scenario
from persona_env.speakers import SPEAKERS, Speaker, register_speaker
from persona_env.speakers.local import LanguageModel
from tests.judges.backends import reply
from tests.models.fault_server import FaultServer
from tests.runs.test_run_judge import MANY, opened
from tests.test_cli import environment, run

FEW = ["--split", "dev", "--dialogues", "2", "--lines", "2"]


class Faulty(Speaker):
    """Raises what it is told to, from its second reply on: the first one is a trial."""

    def __init__(self, error: BaseException):
        self.error, self.replies = error, 0

    def reply(self, views: Sequence[View]) -> list[str]:
        self.replies += 1
        if self.replies > 1:
            raise self.error
        return ["I am here."] * len(views)


@pytest.fixture
def faulty(request: pytest.FixtureRequest):
    register_speaker("faulty_example", lambda: Faulty(request.param))
    yield request.param
    SPEAKERS._registered.pop("faulty_example")


class OutOfMemoryError(RuntimeError):
    """As torch names its own."""


@pytest.mark.parametrize("faulty", [MemoryError(), OutOfMemoryError("CUDA")], indirect=True)
def test_without_memory_a_run_ends_in_one_line_and_says_how_to_go_on(faulty, tmp_path: Path, monkeypatch, capsys):
    out = tmp_path / "bench"
    arguments = ["bench", "scripted", "faulty_example", *FEW]
    assert run([*arguments, "--out", out], monkeypatch) == 71
    error = capsys.readouterr().err.strip()
    assert error.startswith("persona-env: Expected enough memory, got none: ")
    assert "\n" not in error
    assert not isinstance(faulty, MemoryError) or f"go on with: the same command, --resume {out}" in error
    monkeypatch.setattr(Faulty, "reply", lambda self, views: ["I am here."] * len(views))
    assert run([*arguments, "--resume", out], monkeypatch) == 0


@pytest.mark.parametrize("faulty", [ValueError("a bug"), KeyError("a bug"), OSError("no file at all")], indirect=True)
def test_a_bug_is_a_traceback_and_never_called_bad_input(faulty, monkeypatch, capsys):
    assert run(["bench", "faulty_example", *FEW], monkeypatch) == 70
    error = capsys.readouterr().err
    assert error.startswith("Traceback")
    assert "Expected" not in error


@pytest.mark.usefixtures("foreground")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_a_benchmark_that_can_go_on(number: signal.Signals, code: int, tmp_path: Path, monkeypatch, capsys):
    out, say = tmp_path / "bench", bench.ProgressReport.__call__

    def interrupted(self, stage: str, done: int, total: int) -> None:
        if stage == "second":
            signal.raise_signal(number)
        say(self, stage, done, total)

    arguments = ["bench", "first=scripted", "second=scripted", *FEW]
    with monkeypatch.context() as patch:
        patch.setattr(bench.ProgressReport, "__call__", interrupted)
        assert run([*arguments, "--out", out], monkeypatch) == code
    way_on = f"the same command, --resume {out} instead of --out"
    assert capsys.readouterr().err == f"persona-env: interrupted; go on with: {way_on}\n"
    assert run([*arguments, "--resume", out], monkeypatch) == 0


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("library", ["gymnasium/spaces", "typer", "site-packages/torch/"])
def test_signals_during_imports_are_one_line(number: signal.Signals, code: int, library: str, tmp_path: Path):
    """The signal comes as soon as a file of the library is read: Python tells each import with `-v`."""
    command = [sys.executable, "-v", "-m", "persona_env", "bench", "tiny", "--out", str(tmp_path / "out")]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment(),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as running:  # fmt: skip
        assert running.stderr is not None
        while library not in running.stderr.readline():
            assert running.poll() is None
        running.send_signal(number)
        rest = running.stderr.read()
    assert running.returncode == code
    assert "persona-env: interrupted" in rest
    assert "Traceback" not in rest
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only there")
@pytest.mark.parametrize(
    "arguments", [["train", "--dry-run"], ["bench", "scripted", "--dialogues", "2", "--out", "new"]]
)
def test_a_full_standard_output_is_one_line(arguments: list[str], tmp_path: Path):
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "persona_env", *arguments]
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=environment(), cwd=tmp_path
        )
    assert (done.returncode, done.stderr) == (
        1,
        "persona-env: Expected standard output that can be written, got No space left on device: make room, or name a "
        "file.\n",
    )
    assert (tmp_path / "new" / "summary.json").is_file() == ("bench" in arguments)


PIPES = {
    "personas": ["bench", "scripted", "--personas", "{}"],
    "personas of a training run": ["train", "--personas", "{}"],
    "a role": ["bench", "scripted", "--role", "{}"],
    "a config": ["train", "--config", "{}"],
    "a log": ["report", "{}"],
    "a log to audit": ["audit", "{}"],
    "labels": ["judge", "calibrate", "--labels", "{}"],
    "judge prompts": ["bench", "scripted", "--judge-prompts", "{}", "--judge", "openai:m@http://127.0.0.1:9/v1"],
    "a cache of replies": ["bench", "scripted", "--judge-cache", "{}"],
    "a recorded judge": ["bench", "scripted", "--judge", "recorded:{}"],
    "a model": ["bench", "hf:{}"],
    "a speaker": ["bench", "{}"],
}


@pytest.mark.parametrize("arguments", PIPES.values(), ids=PIPES.keys())
def test_a_pipe_is_refused_in_one_line_where_a_file_is_expected(arguments, tmp_path: Path, monkeypatch, capsys):
    """Reading it would wait for ever for somebody to write into it."""
    os.mkfifo(tmp_path / "pipe.toml")
    given = [argument.format(tmp_path / "pipe.toml") for argument in arguments]
    assert run(given, monkeypatch) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("persona-env: Expected ")
    assert "\n" not in error


def test_a_store_of_replies_that_is_deleted_in_use_ends_nothing(tmp_path: Path):
    with FaultServer(answer=reply) as server:
        judge = opened(tmp_path, f"openai:{server.spec}")
        judge.judge(MANY[:3])
        for path in tmp_path.glob(f"{REPLIES}*"):
            path.unlink()
        assert "invalid" not in {verdict.label for verdict in judge.judge(MANY[:9])}
        judge.close()


def test_what_cannot_talk_is_told_before_a_folder_is_made(tmp_path: Path, monkeypatch, capsys):
    """The grammar's speaker knows no role of one's own: that shows on its first line only."""
    role = tmp_path / "customer.toml"
    role.write_text('key = "customer"\nsimulator = "customer"\ntask = "agent"\ntask_prompt = "You help customers."\n')
    people = tmp_path / "people.txt"
    people.write_text("You are Ann and your parcel is lost.\nYou are Bo and want your money back.")
    given = ["--role", role, "--personas", people, "--judge", "match", "--out", tmp_path / "out"]
    for command in (["bench", "scripted", "--task-agent", "interview"], ["bench", "tiny"], ["train"]):
        assert run([*command, *given], monkeypatch) == 2
        error = capsys.readouterr().err.strip()
        assert error.startswith("persona-env: Expected ")
        assert "\n" not in error
        assert not (tmp_path / "out").exists()


def test_a_pipe_is_no_scenario_and_no_chat_template(tmp_path: Path):
    for name in ("pipe.toml", "pipe.jinja"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match="Expected a scenario"):
        load_scenario(tmp_path / "pipe.toml")
    with pytest.raises(InputError, match="Expected a template file"):
        LanguageModel.load("tiny", chat_template=str(tmp_path / "pipe.jinja"))


def test_a_program_of_somebody_keeps_its_own_handlers(tmp_path: Path):
    """Python runs a package before it has found its module: `python -m theirs` is not the command line either."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "__init__.py").write_text("import persona_env\n")
    (theirs / "__main__.py").write_text(
        "import signal\nfor number in (signal.SIGINT, signal.SIGTERM):\n"
        "    assert getattr(signal.getsignal(number), '__module__', '') != 'persona_env.errors'\n"
    )
    found = subprocess.run([sys.executable, "-m", "theirs"], cwd=tmp_path, env=environment(), capture_output=True)
    assert (found.returncode, found.stderr) == (0, b"")
