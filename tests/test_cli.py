"""The command line: one command does the main job; bad input is one line, exit code 2, nothing half-written."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from persona_env import cli
from persona_env.conversation import Conversation
from persona_env.io import load_logs
from persona_env.models.hf import load_tokenizer
from persona_env.runs.config import RunConfig
from persona_env.speakers import load_speaker
from persona_env.world import personas
from tests.models.asked import free_port
from tests.models.fault_server import FaultServer

SMALL = [
    "--tokens", "512", "--envs", "8", "--steps", "32", "--batch", "128", "--dialogues", "8", "--split", "dev",
    "--extended-dialogues", "4", "--threads", "1",
]  # fmt: skip
BENCH = ["bench", "scripted", "--split", "dev", "--dialogues", "2", "--lines", "2", "--out"]


def run(arguments: Sequence[str | Path], monkeypatch: pytest.MonkeyPatch) -> int:
    """Runs the command line in this process and returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["persona-env", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a very short main job."""
    out = tmp_path_factory.mktemp("runs") / "short"
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as shown:
        assert run(["train", "--role", "student", *SMALL, "--out", out], patch) == 0
    text = shown.getvalue()
    assert "persona conflict" in text
    assert "--- before training ---" in text
    assert str(out) in text.replace("\n", "")
    return out


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def test_a_run_leaves_all_that_it_promises(finished: Path):
    names = {path.name for path in finished.iterdir()}
    tables = {"metrics.jsonl", "timing.jsonl", "eval.jsonl", "summary.json", "config.json", "sample.txt"}
    assert names == {"model", "checkpoints", *tables}
    summary = json.loads((finished / "summary.json").read_text())
    for key in ("role", "simulator", "judge", "seed", "heldout_personas", "tokens", "seconds"):
        assert summary[key] is not None
    for arm in ("before", "after"):
        for name in ("prompt_to_line", "line_to_line", "question_answer", "relevance", "copying", "repetition"):
            assert set(summary[arm][name]) == {"value", "low", "high", "n", "invalid", "undecided"}
    assert set(summary["reduction"]) == {"prompt_to_line", "line_to_line", "question_answer", "overall"}
    assert set(summary["reduction"]["overall"]) == {"value", "low", "high"}
    assert {"python", "torch", "transformers", "stable-baselines3"} <= set(summary["versions"])
    assert (summary["status"], summary["role"], len(summary["heldout_personas"])) == ("complete", "student", 8)
    assert not set(summary["heldout_personas"]) & {persona.id for persona in personas("student", "train")}
    assert RunConfig.from_flat(json.loads((finished / "config.json").read_text())).tokens == 512


def test_the_trained_model_talks_and_its_dialogues_can_be_read(finished: Path):
    view = Conversation(personas("student", "dev")[0]).with_reply("Who are you?").view("simulator", seed=1)
    assert load_speaker(f"hf:{finished / 'model'}").reply([view])[0]
    logs = load_logs(finished / "eval.jsonl")
    assert len(logs) >= 2 * 8


def test_a_dry_run_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    assert run(["train", *SMALL, "--dry-run", "--out", tmp_path / "run"], monkeypatch) == 0
    assert "patient: tiny learns by ppo" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_a_config_file_is_overruled_by_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    config = tmp_path / "run.toml"
    config.write_text('role = "student"\nalgorithm = "a2c"\n')
    assert run(["train", "--config", config, "--role", "chat_partner", "--dry-run"], monkeypatch) == 0
    assert "chat_partner: tiny learns by a2c" in capsys.readouterr().out


BAD = {
    "an unknown role": ["train", "--role", "pirate"],
    "a recorded judge without a log": ["train", "--judge", "recorded:missing.jsonl"],
    "a missing model folder": ["train", "--simulator", "hf:./no/such/folder"],
    "an unknown speaker": ["bench", "parrot"],
    "no lines": ["train", "--lines", "0"],
    "a reward that is not a number": ["train", "--rewards", "prompt_to_line=nan"],
    "an unknown split": ["train", "--split", "yesterday"],
    "a missing config": ["train", "--config", "missing.toml"],
    "a missing persona file": ["train", "--personas", "missing.jsonl"],
    "a log that is not there": ["audit", "missing.json"],
    "an unknown role to play": ["play", "--role", "pirate"],
    "a report of a folder without a log": ["report", "missing"],
    "an unknown metric": ["bench", "scripted", "--metrics", "kindness"],
    "a bound of no tokens": ["bench", "scripted", "--max-tokens", "0", "--out", "bench"],
    "an argument that acts on the terminal": ["play", "--role", "\x1b[2J"],
}


@pytest.mark.parametrize("arguments", BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_line_and_exit_code_2(arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(arguments, monkeypatch) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("persona-env: Expected ")
    assert "\n" not in error
    assert not list(tmp_path.iterdir())


def test_a_person_can_talk_to_a_simulator(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(sys, "stdin", io.StringIO("What is your name?\nHow is your sleep?\n\n"))
    assert run(["play", "--simulator", "scripted", "--split", "dev"], monkeypatch) == 0
    shown = capsys.readouterr().out
    assert shown.count("patient>") == 2
    assert shown.count("+ prompt-to-line") == 2


def test_simulators_are_measured_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    arguments = ["bench", "tiny", "scripted", "--split", "dev", "--dialogues", "6", "--lines", "3"]
    assert run([*arguments, "--out", tmp_path / "bench"], monkeypatch) == 0
    summary = json.loads((tmp_path / "bench" / "summary.json").read_text())
    assert summary["scripted"]["prompt_to_line"]["value"] == 1.0
    tiny = summary["tiny"]["prompt_to_line"]
    assert tiny["n"] + tiny["invalid"] == 18
    shown = capsys.readouterr().out
    assert run(["report", tmp_path / "bench"], monkeypatch) == 0
    assert shown.startswith(capsys.readouterr().out)


def test_a_tilde_is_the_home_folder_wherever_a_path_is(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "people.txt").write_text("You are Ann.\nYou are Bo.\nYou are Cy.")
    bench = ["bench", "scripted", "--personas", "~/people.txt", "--task-agent", "interview", "--judge", "match"]
    bench += ["--dialogues", "3", "--lines", "2", "--metrics", "question_answer,copying", "--out", "~/bench"]
    assert run(bench, monkeypatch) == 0
    names = {log.conversation().persona.description for log in load_logs(tmp_path / "bench" / "eval.jsonl")}
    assert names == {"You are Ann.", "You are Bo.", "You are Cy."}, "all of a file without splits"
    assert set(json.loads((tmp_path / "bench" / "summary.json").read_text())["scripted"]) == {
        "copying", "line_words", "lines_said",
    }  # fmt: skip
    assert "probe errors" not in capsys.readouterr().out  # the personas have no questions
    assert run(["report", "~/bench"], monkeypatch) == 0
    assert run(["train", "--simulator", "hf:~/none", "--out", "~/run"], monkeypatch) == 2
    assert run(["bench", "scripted", "--personas", "~nobody-at-all/p.txt"], monkeypatch) == 2
    assert "~" not in {path.name for path in Path().iterdir()}


def test_one_option_bounds_the_lines_of_every_simulator(tmp_path: Path, monkeypatch):
    arguments = ["bench", "--split", "dev", "--dialogues", "2", "--lines", "2", "--max-tokens", "5"]
    with FaultServer(answer=lambda prompt: "x" * 999) as server:
        specs = ["tiny", f"openai:{server.spec}"]
        assert run([*arguments, *specs, "--out", tmp_path / "bench"], monkeypatch) == 0
    assert {call.sent["max_tokens"] for call in server.calls} == {5}
    tiny, served = ([], [])
    for log in load_logs(tmp_path / "bench" / "eval.jsonl"):
        (tiny if log.id.startswith("tiny/") else served).extend(log.conversation().lines)
    tokenizer = load_tokenizer("tiny")
    assert max(len(tokenizer.encode(line, add_special_tokens=False)) for line in tiny) == 5
    assert {len(line) for line in served} == {16 * 5}, "the environment cuts what a server says beyond it"
    assert json.loads((tmp_path / "bench" / "config.json").read_text())["max_tokens"] == 5


def test_a_benchmark_whose_judge_stays_away_ends_in_order_and_can_go_on(tmp_path: Path, monkeypatch, capsys):
    port = free_port()
    judge = f"openai:nobody@http://127.0.0.1:{port}/v1"
    arguments = [*BENCH, tmp_path / "bench", "--judge-outage-timeout", "0.2", "--judge", judge]
    assert run(arguments, monkeypatch) == 75
    error = capsys.readouterr().err.strip()
    assert error.startswith(f"persona-env: Expected http://127.0.0.1:{port}/v1 to answer within 0.2 s, got")
    assert "\n" not in error
    assert (tmp_path / "bench" / "config.json").is_file()


def started(arguments: Sequence[str | Path]) -> subprocess.Popen[str]:
    """The command line in a process that Ctrl-C reaches, whatever this one does with it."""
    return subprocess.Popen(
        [sys.executable, "-m", "persona_env", *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # not as in the background
    )  # fmt: skip


@pytest.mark.slow
def test_ctrl_c_in_a_command_is_told_in_one_line():
    with started(["play", "--simulator", "scripted", "--split", "dev"]) as running:
        assert running.stdout is not None
        while not running.stdout.readline().startswith("An empty line ends it."):
            assert running.poll() is None
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=60)
    assert (running.returncode, errors) == (130, "persona-env: interrupted\n")


@pytest.mark.usefixtures("foreground")
def test_ctrl_c_while_a_table_is_shown_names_its_folder_and_how_to_go_on(
    finished: Path, tmp_path: Path, monkeypatch, capsys
):
    class Interrupted(io.StringIO):
        """As if somebody lost patience while the table was written."""

        def write(self, text: str, /) -> int:
            signal.raise_signal(signal.SIGINT)
            return len(text)

    out = tmp_path / "bench"
    monkeypatch.setattr(sys, "stdout", Interrupted())
    for arguments, way_on in (
        (["train", "--resume", finished], f"persona-env train --resume {finished}"),
        ([*BENCH, out], f"the same command, --resume {out} instead of --out"),
    ):
        assert run(arguments, monkeypatch) == 130
        assert capsys.readouterr().err == f"persona-env: interrupted; go on with: {way_on}\n"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_table_is_shown_where_only_ascii_can_be_written(encoding: str, monkeypatch: pytest.MonkeyPatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding, errors="strict"))
    assert run(["bench", "scripted", "--split", "dev", "--dialogues", "6", "--lines", "3"], monkeypatch) == 0
    sys.stdout.flush()
    rows = {
        line[:34].strip(" |"): line[34:].strip(" |").split()
        for line in written.getvalue().decode(encoding).splitlines()
    }
    assert rows["persona conflict (prompt-to-line)"][:2] == ["0.0", "%"]
    assert rows["lines judged"] == ["18"]
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(written, encoding=encoding, errors="strict"))
    assert run(["bench", "é"], monkeypatch) == 2
    sys.stderr.flush()
    assert ("got 'é'" if encoding == "cp1252" else r"got '\xe9'") in written.getvalue().decode(encoding)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [["train", "--help"], ["train", "--dry-run"], ["bench", "scripted", "--dialogues", "2", "--out", "new"]],
)
def test_a_reader_that_goes_away_ends_a_command_without_a_word(arguments: list[str], tmp_path: Path):
    read, write = os.pipe()
    os.close(read)
    try:
        command = [sys.executable, "-m", "persona_env", *arguments]
        done = subprocess.run(
            command, stdout=write, stderr=subprocess.PIPE, check=False, env=environment(), cwd=tmp_path
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")
    if "bench" in arguments:
        assert {"summary.json", "eval.jsonl"} <= {path.name for path in (tmp_path / "new").iterdir()}
