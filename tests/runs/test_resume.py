"""A run that is killed and resumed ends, to the last bit, as the one that was never broken."""

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from persona_env.cli.bench import bench
from persona_env.cli.train import resume_training
from persona_env.errors import InputError
from persona_env.io.persona_file import save_personas
from persona_env.world import personas
from tests.judges.backends import reply
from tests.models.fault_server import FaultProcess, FaultServer
from tests.runs.runs import contents, go, started, when

ROLLOUT = 8 * 32


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing has disturbed."""
    path = tmp_path_factory.mktemp("runs") / "unbroken"
    assert go(path).exit_code == 0
    return path


class Killed(BaseException):
    """Ends a run as a kill does: nothing is written any more."""


def stop(how: type[BaseException]) -> None:
    raise how


def test_a_run_cut_off_twice_ends_as_the_unbroken_one(unbroken: Path, tmp_path: Path):
    for stage, done in (("training", 2 * ROLLOUT), ("after", 3)):
        with pytest.raises(Killed):
            go(tmp_path / "run", when(stage, done, lambda: stop(Killed)))
    assert go(tmp_path / "run").exit_code == 0
    assert contents(tmp_path / "run") == contents(unbroken)


KILLS = {
    "in the first measurement": ("before", 3, 0.0),
    "in the second": ("before_extended", 2, 0.0),
    "before training": ("training", 0, 0.0),
    "between a rollout and its update": ("training", ROLLOUT, 0.0),
    "somewhere in a rollout": ("training", ROLLOUT, 0.15),
    "after the last rollout": ("training", 3 * ROLLOUT, 0.0),
    "in the measurement after it": ("after", 3, 0.0),
    "at the very end": ("drift_free", 1, 0.0),
}


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_as_the_unbroken_one(unbroken: Path, tmp_path: Path):
    for place, at in KILLS.items():
        assert started(tmp_path / "run", at) == -signal.SIGKILL, place
    assert started(tmp_path / "run") == 0
    assert contents(tmp_path / "run") == contents(unbroken)


@pytest.mark.slow
def test_a_run_with_a_model_as_task_agent_is_resumed_too(tmp_path: Path):
    more: dict[str, Any] = dict(task_agent="tiny", extended_dialogues=0)
    assert started(tmp_path / "one", **more) == 0
    assert started(tmp_path / "two", ("training", 2 * ROLLOUT, 0.0), **more) == -signal.SIGKILL
    assert started(tmp_path / "two", **more) == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.slow
def test_the_lines_of_a_served_task_agent_are_asked_for_once_however_often_a_run_is_killed(tmp_path: Path):
    """Its lines are stored as they come; only those in flight at a kill are asked for again."""
    with FaultProcess("--answer", "tests.runs.runs:small_talk") as server:
        more: dict[str, Any] = dict(task_agent=f"openai:{server.spec}", extended_dialogues=0)
        assert started(tmp_path / "one", **more) == 0
        whole = server.asked
        for at in (("before", 3, 0.0), ("training", 2 * ROLLOUT, 0.0), ("after", 3, 0.0)):
            assert started(tmp_path / "two", at, **more) == -signal.SIGKILL
        assert started(tmp_path / "two", **more) == 0
        assert server.asked - whole <= whole + 3 * 8
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.slow
def test_a_run_with_a_judge_behind_a_server_is_resumed_too_and_its_canaries_count_once(tmp_path: Path):
    with FaultProcess("--answer", "tests.judges.backends:reply") as server:
        more: dict[str, Any] = dict(judge=f"openai:{server.spec}", extended_dialogues=0)
        assert started(tmp_path / "one", **more) == 0
        for at in (("before", 3, 0.3), ("training", 2 * ROLLOUT, 0.0), ("after", 3, 0.0)):
            assert started(tmp_path / "two", at, **more) == -signal.SIGKILL
        assert started(tmp_path / "two", **more) == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    usage = [json.loads((tmp_path / name / "summary.json").read_text())["judge_usage"] for name in ("one", "two")]
    for name in ("canaries", "canaries_failed", "invalid"):
        assert usage[0][name] == usage[1][name]
    assert usage[0]["canaries"] > 5


def test_ctrl_c_in_a_rollout_leaves_its_beginning_on_disk(unbroken: Path, tmp_path: Path):
    result = go(tmp_path, when("training", 2 * ROLLOUT, lambda: stop(KeyboardInterrupt)), checkpoint_every=100)
    assert (result.exit_code, result.status) == (130, "interrupted")
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["status"], summary["tokens"], summary["after"]) == ("interrupted", 2 * ROLLOUT, None)
    kept = [path.name for path in (tmp_path / "checkpoints").iterdir() if path.name.startswith("rollout")]
    assert kept == [f"rollout-{ROLLOUT:012d}"]
    assert (tmp_path / "model" / "model.safetensors").is_file()
    assert go(tmp_path).exit_code == 0
    assert contents(tmp_path) == contents(unbroken)


@pytest.mark.slow
def test_a_damaged_checkpoint_falls_back_to_the_one_before(unbroken: Path, tmp_path: Path):
    run = tmp_path / "run"
    assert started(run, ("training", 3 * ROLLOUT, 0.0)) == -signal.SIGKILL
    kept = sorted(path for path in (run / "checkpoints").iterdir() if path.name.startswith("rollout"))
    assert [int(path.name.removeprefix("rollout-")) for path in kept] == [ROLLOUT, 2 * ROLLOUT]
    with open(kept[-1] / "tensors.safetensors", "r+b") as file:
        file.seek(100_000)
        file.write(b"oops")
    shutil.copytree(run, tmp_path / "all damaged")
    assert go(run).exit_code == 0
    assert contents(run) == contents(unbroken)
    for path in (tmp_path / "all damaged" / "checkpoints").glob("*/checksums.json"):
        path.write_text("{}")
    assert go(tmp_path / "all damaged").exit_code == 0
    assert contents(tmp_path / "all damaged") == contents(unbroken)


def test_a_finished_run_is_shown_again_and_not_run_again(unbroken: Path, capsys: pytest.CaptureFixture[str]):
    before = contents(unbroken)
    assert resume_training(unbroken, {}) == 0
    shown = capsys.readouterr().out
    assert "persona conflict" in shown
    assert f"{3 * ROLLOUT:,} tokens" in shown
    after = contents(unbroken)
    assert after.pop("sample.txt")
    (unbroken / "sample.txt").unlink()
    assert before == after


def test_other_contents_under_the_same_path_are_refused(tmp_path: Path):
    """Its figures would be of two persona sets, and say so nowhere."""
    people, run = tmp_path / "people.jsonl", tmp_path / "run"
    known = personas("patient", "train")[:8]
    splits = ["train"] * 6 + ["dev"] * 2
    save_personas(people, known, splits)
    more: dict[str, Any] = dict(personas=str(people), extended_dialogues=0)
    with pytest.raises(Killed):
        go(run, when("training", ROLLOUT, lambda: stop(Killed)), **more)
    before = contents(run)
    save_personas(people, [*known[:7], personas("patient", "train")[9]], splits)
    with pytest.raises(InputError, match="got others of: personas: put back"):
        go(run, **more)
    assert contents(run) == before
    save_personas(people, known, splits)
    assert go(run, **more).exit_code == 0


def test_settings_of_another_version_or_broken_ones_are_refused(tmp_path: Path):
    wrong = {"{}": "settings of this version", "{": "Expected JSON", '{"algorithm": true}': "a text as algorithm"}
    for config, says in wrong.items():
        (tmp_path / "config.json").write_text(config)
        with pytest.raises(ValueError, match=says):
            resume_training(tmp_path, {})


def test_a_run_with_too_many_invalid_verdicts_fails_unless_it_is_allowed(tmp_path: Path):
    run = tmp_path / "run"

    def check(most: float, code: int, status: str, stages: int) -> None:
        found = go(run, judge="match", extended_dialogues=0, max_invalid=most)  # which judges answers only
        assert (found.exit_code, found.status, len(found.log.arms)) == (code, status, stages)
        summary = json.loads((run / "summary.json").read_text())
        assert summary["judge_usage"]["invalid"] > 0
        assert most == 1 or "in the stage 'before', got" in summary["reason"]

    check(0.01, 78, "stopped", 0)
    assert not (run / "eval.jsonl").exists()  # nothing is kept that is not sound
    check(1.0, 0, "complete", 4)


def garbage(prompt: str) -> str:
    return "I would rather not say."


def always_a(prompt: str) -> str:
    """Replies in the right form, with the same letter to everything."""
    return reply(prompt).replace('"answer": "B"', '"answer": "A"')


class Breaking(FaultServer):
    """A server whose model knows the grammar, until it `breaks`."""

    def breaks(self, answer: Callable[[str], str]) -> None:
        self.answer = answer


@pytest.fixture(scope="module")
def breaking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Breaking, Path]]:
    """A server, and the folder of a run with it as the judge that nothing has disturbed."""
    path = tmp_path_factory.mktemp("breaking") / "unbroken"
    server = Breaking(answer=reply)
    with server:
        assert go(path, judge=f"openai:{server.spec}", extended_dialogues=0).exit_code == 0
        yield server, path


@pytest.mark.parametrize(("stage", "says"), [
    ("after", garbage), ("training", always_a), pytest.param("before", always_a, marks=pytest.mark.slow),
    pytest.param("training", garbage, marks=pytest.mark.slow),
])  # fmt: skip
def test_a_judge_that_was_broken_for_a_stage_is_asked_again(breaking: tuple[Breaking, Path], tmp_path, stage, says):
    server, unbroken = breaking
    more: dict[str, Any] = dict(judge=f"openai:{server.spec}", extended_dialogues=0)
    shared = str(tmp_path / "shared.sqlite")
    found = go(tmp_path / "run", when(stage, 0, lambda: server.breaks(says)), judge_cache=shared, **more)
    assert (found.exit_code in (77, 78), found.status) == (True, "stopped")
    assert found.log.arm(stage) is None
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert "Expected" in summary["reason"]
    server.breaks(reply)
    assert go(tmp_path / "run", judge_cache=shared, **more).exit_code == 0
    assert figures(tmp_path / "run") == figures(unbroken)


def figures(path: Path) -> dict[str, str]:
    return {name: digest for name, digest in contents(path).items() if name != "config.json"}


def test_a_benchmark_that_was_cut_off_goes_on_with_the_next_simulator(tmp_path: Path):
    suite: dict[str, Any] = dict(split="dev", dialogues=4, lines=2)
    for name in ("whole", "part"):
        bench(simulators=["scripted"], **suite, out=tmp_path / name)
    (tmp_path / "part" / "summary.json").unlink()  # as a kill before the table leaves it
    begun = (tmp_path / "part" / "eval.jsonl").stat().st_mtime_ns
    bench(simulators=["scripted"], **suite, resume=tmp_path / "part")
    assert contents(tmp_path / "part") == contents(tmp_path / "whole")
    assert (tmp_path / "part" / "eval.jsonl").stat().st_mtime_ns == begun
    with pytest.raises(ValueError, match=r"got simulators: was \['scripted'\], is \['tiny'\]: leave"):
        bench(simulators=["tiny"], **suite, resume=tmp_path / "part")
