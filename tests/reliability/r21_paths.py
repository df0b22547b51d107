"""R21: paths that cannot be used: one line, exit code 2, and nothing outside the given folder is touched."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from persona_env.calibration.label_file import Labelled, save_labels
from persona_env.conversation import Conversation
from persona_env.io import LoggedDialogue, LoggedReply, save_logs, save_personas
from persona_env.judges import LineVsHistory
from persona_env.persona import Persona, QAItem
from tests.reliability.commands import run, tree
from tests.reliability.demands import Measured, demand, few

_LONG = "x" * 300
_READ = ("missing", "folder", "fifo", "loop", "text.txt/below", "/dev/zero", _LONG, "../..", "")
"""What is no file to read."""
_WRITTEN = ("folder", "text.txt/below", "fifo", "loop", "/dev/null", "no/such/x", _LONG)
"""What is no file to write."""
_FOLDERS = ("text.txt", "full", "text.txt/below", "fifo", "loop", "/dev/null", _LONG)
"""What is no folder for a run."""
_IDS = ("../../evil", "/evil", "..", "~/evil", "a/b/c", "C:\\evil", "x" * 300, "nul\x00byte", "-rf")
"""What a persona may be called, and no file is to be."""

_SMALL = ["--split", "train", "--dialogues", "2", "--lines", "1"]


def prepared(folder: Path) -> Path:
    """Returns the folder that commands run in, with something on all sides that is not theirs."""
    (folder / "precious.txt").write_text("mine")
    work = folder / "work"
    for name in ("folder", "full"):
        (work / name).mkdir(parents=True)
    (work / "full" / "precious.txt").write_text("mine")
    (work / "text.txt").write_text("mine")
    os.mkfifo(work / "fifo")
    (work / "loop").symlink_to("loop")
    asked = (QAItem("four hours", ("How long do you sleep?",)),)
    personas = [Persona(x, "patient", x, "You sleep four hours a night.", questions=asked) for x in _IDS]
    save_personas(work / "personas.jsonl", personas, ["train"] * len(personas))
    talk = Conversation(personas[0], id="../../evil").with_reply("How?").with_line("Four.")
    save_logs(work / "log.jsonl", [LoggedDialogue.of(talk, [LoggedReply("prompt_to_line", 1, "NO", "consistent")])])
    good, bad = (LineVsHistory("patient", "Pretty sad.", (f"Pretty {mood}.",)) for mood in ("sad", "numb"))
    save_labels(work / "labels.jsonl", [Labelled(good, "consistent", "../p0"), Labelled(bad, "inconsistent", "../p1")])
    return work


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


def refused(work: Path) -> tuple[int, list[str]]:
    """Runs all commands; returns how many, and those that were not refused in one line or left a trace."""
    bad, before, every = list[str](), tree(work.parent), list(commands())
    with contextlib.chdir(work):
        for arguments in every:
            ran = run(arguments)
            if not ran.is_one_line or tree(work.parent) != before:
                bad.append(f"{' '.join(arguments)[:60]!a}: {ran.err[:80]!r}")
    return len(every), bad


def named_like_paths(work: Path) -> list[str]:
    """Measures personas whose ids are paths; returns what was made anywhere but in the folder, or is called so."""
    before = tree(work.parent)
    with contextlib.chdir(work):
        ran = run(["bench", "scripted", *_SMALL, "--personas", "personas.jsonl", "--out", "made"])
        too = run(["judge", "calibrate", "--judge", "oracle", "--labels", "labels.jsonl", "--out", "judged"])
    after = tree(work.parent)
    new = after.keys() - before.keys()
    bad = [name for name in new if not name.startswith(("work/made", "work/judged"))]
    bad += [name for name in new if any(part in Path(name).name for part in ("evil", "xxxx", "-rf", "nul"))]
    if not before.items() <= after.items() or (ran.code, too.code) != (0, 0) or not new:
        bad.append(f"exit codes {ran.code}, {too.code}: {ran.err or too.err}")
    return bad


@demand(
    "R21",
    f"{len(list(commands()))} commands with paths that cannot be used (devices, pipes, loops, too long, not empty), "
    f"{len(_IDS)} personas with ids like paths",
    "0 hits: one line and exit code 2; nothing outside the folder made or changed",
)
def unusable_paths() -> Measured:
    with tempfile.TemporaryDirectory() as name:
        work = prepared(Path(name))
        hits = [*refused(work)[1], *named_like_paths(work)]
    return not hits, f"{len(hits)} hits{few(hits)}"
