"""R21: paths that lead elsewhere: one line, exit code 2, and nothing outside the given folder is touched."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from persona_env.calibration.label_file import Vote, save_labels
from persona_env.conversation import Conversation
from persona_env.io import FileError, LoggedDialogue, LoggedReply, save_logs, save_personas
from persona_env.io.atomic import write_lines
from persona_env.judges import LineVsHistory
from persona_env.judges.prompts import JudgePrompts
from persona_env.judges.store import StoreError, VerdictStore
from persona_env.persona import Persona, QAItem
from persona_env.runs.config import RunConfig, read_config
from persona_env.runs.run_folder import RunFolder
from tests.reliability.commands import Ran, run, tree, within
from tests.reliability.rows import Row

_LONG = "x" * 300
_DEEP = "/".join(["d" * 200] * 30)
_READ = ("missing", "folder", "fifo", "loop", "text.txt/below", "/dev/null", "/dev/zero", _LONG, _DEEP, "../..", "")
"""What is no file to read."""
_WRITTEN = ("folder", "text.txt/below", "fifo", "loop", "link.txt", "/dev/null", "/dev/full", _LONG, _DEEP, "no/such/x")
"""What is no file to write."""
_FOLDERS = ("text.txt", "full", "text.txt/below", "fifo", "loop", "link.txt", "/dev/null", _LONG, f"new/{_LONG}", _DEEP)
"""What is no folder for a run."""
_IDS = (
    "../../evil",
    "/evil",
    "..",
    "~/evil",
    "a/b/c",
    "C:\\evil",
    "x" * 300,
    "nul\x00byte",
    "-rf",
    ".summary.json.tmp",
)
"""What a persona may be called, and no file is to be."""

_SMALL = ["--split", "train", "--dialogues", "2", "--lines", "1"]


def prepared(folder: Path) -> Path:
    """Returns the folder that commands run in, with something on all sides that is not theirs."""
    (folder / "precious.txt").write_text("mine")
    work = folder / "work"
    for name in ("folder", "full", "outside"):
        (work / name).mkdir(parents=True)
    (work / "full" / "precious.txt").write_text("mine")
    (work / "text.txt").write_text("mine")
    os.mkfifo(work / "fifo")
    (work / "loop").symlink_to("loop")
    (work / "link.txt").symlink_to("text.txt")
    asked = (QAItem("four hours", ("How long do you sleep?",)),)
    people = [Persona(x, "patient", x, f"You are {x}. You sleep four hours.", questions=asked) for x in _IDS]
    save_personas(work / "people.jsonl", people, ["train"] * len(people))
    talk = Conversation(people[0], id="../../evil").with_reply("How?").with_line("Four.")
    save_logs(work / "log.jsonl", [LoggedDialogue.of(talk, [LoggedReply("prompt_to_line", 1, "NO", "consistent")])])
    votes = [Vote(LineVsHistory("patient", f"{i}.", ("One.",)), label, f"../p{i}") for i, label in enumerate(_TWO)]
    save_labels(work / "labels.jsonl", votes)
    return work


_TWO = ("consistent", "inconsistent")


def commands() -> Iterator[list[str]]:
    """Yields commands with a path that cannot be used."""
    for path in _READ:
        yield ["audit", path]
        yield ["judge", "calibrate", "--judge", "oracle", "--labels", path]
        yield ["train", "--config", path, "--dry-run"]
        yield ["bench", "scripted", *_SMALL, "--personas", path]
        yield ["train", "--judge", f"recorded:{path}", "--dry-run"]
    for path in ("folder", "fifo", "missing", _LONG, "text.txt"):
        yield ["judge", "calibrate", "--judge", "hf:x", "--labels", "labels.jsonl", "--judge-prompts", path]
        yield ["train", "--simulator", f"hf:./{path}", "--dry-run"]
        yield ["train", "--resume", path]
    for path in _WRITTEN:
        yield ["audit", "log.jsonl", "--json", path]
        yield ["judge", "calibrate", "--judge", "oracle", "--labels", "labels.jsonl", "--json", path]
    for path in _FOLDERS:
        yield ["bench", "scripted", *_SMALL, "--out", path]
        yield ["judge", "calibrate", "--judge", "oracle", "--labels", "labels.jsonl", "--out", path]
    for name in ("a\x1b[2Jb", "a\nb", "\udcff", "a\u202eb"):
        yield ["audit", name]
        yield ["bench", "scripted", "--out", name]


def _ran(arguments: list[str]) -> Ran | None:
    try:
        return run(arguments)
    except Exception:  # what a user would see as a traceback
        return None


def refused(work: Path) -> tuple[int, list[str]]:
    """Runs all commands; returns how many, and those that were not refused in one line or left a trace."""
    bad, count = list[str](), 0
    before = tree(work.parent)
    with within(work):
        for arguments in commands():
            count += 1
            ran = _ran(arguments)
            if ran is None or not ran.is_one_line or tree(work.parent) != before:
                bad.append(f"{' '.join(arguments)[:60]!a}: {'traceback' if ran is None else ran.err[:80]!r}")
    return count, bad


def _raises(kind: type[Exception], work: Callable[[], object]) -> bool:
    """Whether something is refused with one printable line that says what was expected."""
    try:
        work()
    except kind as error:
        return str(error).startswith("Expected ") and str(error).isprintable()
    return False


def _run_with_link(folder: Path, name: str) -> bool:
    """A run folder in which a file is a link to somebody else's is not gone on with."""
    path = folder / f"run-{name.replace('/', '-')}"
    RunFolder(path).create().write_json("config.json", RunConfig().as_json())
    (path / name).parent.mkdir(exist_ok=True)
    (path / name).symlink_to(folder / "text.txt")
    return _raises(ValueError, lambda: RunFolder(path, resume=True))


def _links_are_not_followed(folder: Path) -> bool:
    """Drafts that were put there as links are replaced, not written through."""
    path = folder / "drafts"
    path.mkdir()
    for name in (".summary.json.tmp", ".writable.tmp", ".log.jsonl.tmp", ".model.tmp"):
        (path / name).symlink_to(folder / "text.txt")
    run_folder = RunFolder(path).create()
    (path / ".summary.json.tmp").symlink_to(folder / "text.txt")
    run_folder.write_json("summary.json", {"x": 1})
    (path / f".log.jsonl.{os.getpid()}.tmp").symlink_to(folder / "text.txt")
    write_lines(path / "log.jsonl", ["{}"])
    run_folder.close()
    return not any(found.is_symlink() for found in path.iterdir())


def library(work: Path) -> list[str]:
    """Tries what a command line cannot hold, and links put where files are written; returns what was not refused."""
    outside, before = work.parent / "precious.txt", tree(work)
    links = work / "outside" / "links"
    links.mkdir()
    (links / "text.txt").write_text("mine")
    tried = {
        "a NUL in --out": lambda: _raises(ValueError, lambda: RunFolder("a\x00b")),
        "a surrogate in --out": lambda: _raises(ValueError, lambda: RunFolder("a\ud800")),
        "a NUL in a log's name": lambda: _raises(FileError, lambda: save_personas("a\x00b", [_ANN])),
        "a NUL in judge prompts": lambda: _raises(ValueError, lambda: JudgePrompts.load("a\x00b")),
        "a NUL in a config": lambda: _raises(ValueError, lambda: read_config("a\x00b")),
        "a NUL in a setting": lambda: _raises(ValueError, lambda: RunConfig(judge_cache="a\x00b")),
        "a store that is a folder": lambda: _raises(StoreError, lambda: VerdictStore(work / "folder")),
        "a store that is a text": lambda: _raises(StoreError, lambda: VerdictStore(work / "text.txt")),
        "a log through a link": lambda: _raises(FileError, lambda: save_personas(work / "link.txt", [_ANN])),
        "drafts that are links": lambda: _links_are_not_followed(links),
        **{
            f"a run's {name} that is a link": lambda name=name: _run_with_link(links, name)
            for name in ("metrics.jsonl", "timing.jsonl", "verdicts.sqlite", "checkpoints/rollout-1", "model")
        },
    }
    bad = [name for name, holds in tried.items() if not holds()]
    if (links / "text.txt").read_text() != "mine" or outside.read_text() != "mine":
        bad.append("another file was written through a link")
    kept = {name: what for name, what in tree(work).items() if not name.startswith("outside")}
    if kept != {name: what for name, what in before.items() if not name.startswith("outside")}:
        bad.append("something was left behind")
    return bad


TRIED_IN_LIBRARY = 15
_ANN = Persona("a", "patient", "Ann", "You are Ann.")


def named_like_paths(work: Path) -> list[str]:
    """Measures people whose ids are paths; returns what was made anywhere but in the folder, or is called so."""
    before = tree(work.parent)
    with within(work):
        ran = run(["bench", "scripted", *_SMALL, "--personas", "people.jsonl", "--out", "made"])
        asked = ["--judge", "oracle", "--labels", "labels.jsonl", "--out", "judged"]
        ran_too = run(["judge", "calibrate", *asked])
    new = [name for name in tree(work.parent) if name not in before]
    bad = [name for name in new if not name.startswith(("work/made", "work/judged"))]
    bad += [name for name in new if any(part in Path(name).name for part in ("evil", "xxxx", "-rf", "nul"))]
    kept = {name: what for name, what in tree(work.parent).items() if name in before}
    if kept != before or (ran.code, ran_too.code) != (0, 0) or not new:
        bad.append(f"exit codes {ran.code}, {ran_too.code}: {ran.err or ran_too.err}")
    return bad


def measure() -> list[Row]:
    """Tries all paths."""
    with tempfile.TemporaryDirectory() as name:
        work = prepared(Path(name))
        count, bad = refused(work)
        hits = [*bad, *library(work), *named_like_paths(work)]
    return [
        Row(
            "R21",
            f"{count} commands and {TRIED_IN_LIBRARY} calls with paths of all sorts (devices, pipes, loops, links, "
            f"NUL, too long, not empty), links in run folders and as drafts, {len(_IDS)} people with ids like paths",
            "0 hits: one line and exit code 2; nothing outside the folder made or changed",
            f"{len(hits)} hits{': ' + '; '.join(hits)[:300] if hits else ''}",
            met=not hits,
        )
    ]
