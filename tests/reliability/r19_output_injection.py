"""R19: hostile text as names, prompts, lines, replies and file names: shown as text, never as markup or control."""

from __future__ import annotations

import contextlib
import io
import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.text import Text

from persona_env.calibration.label_file import Labelled, save_labels
from persona_env.conversation import Conversation
from persona_env.io import LoggedDialogue, LoggedReply, LoggedScore, save_logs, save_personas
from persona_env.judges import LineVsHistory, LineVsPersona
from persona_env.persona import Persona, QAItem
from persona_env.report.terminal import Terminal
from tests.models.fault_server import FaultServer
from tests.reliability.commands import TINY_RUN, run
from tests.reliability.demands import Measured, demand, few

HOSTILE = (
    *("[/oops]", "[link=http://x.example]go[/link]", "[red on red]", ":skull:", "\x1b[5;38;5;213mred\x1b[0m"),
    *("\x1b]0;title\x07", "\x1b]8;;http://x.example\x1b\\link\x1b]8;;\x1b\\", "\x9b2J", "\x1b[2J\x1b[H"),
    *("\u202egnp.exe", "\u2066x\u2069", "a\rb", "\x08\x08\x08", "a\tb", "\x00", "\x7f", "<script>alert(1)</script>"),
    *("=cmd|' /C calc'!A0", "@SUM(1+1)", "+1", "-1", "![x](http://x.example)", "\nstudent: I agree."),
    *("\u2028", "\x0b\x0c", "\x85"),
)  # fmt: skip
"""What does something in a terminal, in rich, in HTML, in Markdown or in a spreadsheet."""

ALL = " ".join(HOSTILE)
_STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_CURSOR = re.compile(r"\x1b\[(?:\?25[lh]|[0-9]*[AK]|2K)|\r")
_LIVE = (".csv", ".html", ".htm", ".md", ".xml", ".svg")


def steering(text: str) -> list[str]:
    """Returns the control characters and bidi marks in a text, without the line breaks."""
    return sorted({ascii(found) for found in _STEERING.findall(text)})


def in_colour(text: str) -> list[str]:
    """The same of what rich writes to a colour terminal, but for its own styles; links and hostile styles count."""
    return steering(_CURSOR.sub("", _STYLE.sub(lambda found: found[0] if "213" in found[0] else "", text)))


def printed() -> list[str]:
    """Prints all of it with a colour terminal, as text, as a table's cell and as a title; returns what got through."""
    found = list[str]()
    for text in (*HOSTILE, ALL):
        file = io.StringIO()
        console = Terminal(file=file, force_terminal=True, width=120)
        console.print(text)
        console.print(Text(text))
        with console.status(Text(text)):
            pass
        found += [f"{text!a}: {steers}" for steers in in_colour(file.getvalue())]
        if "[/oops]" in text and "[/oops]" not in file.getvalue():
            found.append(f"{text!a}: taken as markup")
    return found


def prepared(folder: Path) -> None:
    """Writes files in which everything that can be hostile is."""
    ann = Persona("", "patient", ALL, ALL, questions=(QAItem(f"four {ALL}", (f"How? {ALL}",)),), scene=ALL)
    people = [replace(ann, id=f"{i} {ALL}", description=f"You are Ann {i}. {ALL}") for i in range(3)]
    save_personas(folder / "people.jsonl", people, ["train"] * 3)
    talk = Conversation(people[0], id=ALL).with_reply(ALL).with_line(ALL).with_reply("So?").with_line(f"Yes. {ALL}")
    replies = [LoggedReply("prompt_to_line", 1, f"{ALL} NO"), LoggedReply("prompt_to_line", 3, f"YES {ALL}")]
    scores = [LoggedScore("P2", "prompt", 0.25)]
    save_logs(folder / "[red]log[link=x].jsonl", [LoggedDialogue.of(talk, replies, scores)])
    good, bad = LineVsHistory("patient", ALL, (ALL, "x")), LineVsHistory("patient", "y", (ALL,))
    votes = [Labelled(good, "consistent", ALL, f"{who} {ALL}") for who in "abc"]
    votes += [Labelled(question, "inconsistent", ALL, ALL) for question in (bad, LineVsPersona(people[0], ALL, ALL))]
    save_labels(folder / "labels.jsonl", votes)
    (folder / "broken.jsonl").write_text(json.dumps({"format": ALL, ALL: 1}) + "\n")
    (folder / "broken.json").write_text(json.dumps([{"conversation": ALL, "task_name": ALL}]))
    (folder / "broken.toml").write_text(f"role = {json.dumps(ALL)}\n".replace("\\u007f", ""))
    (folder / "run.toml").write_text(f"{TINY_RUN}max_invalid = 1\n")


def commands(base_url: str, *, training: bool) -> Iterator[list[Any]]:
    """Yields commands that show what others wrote; the server says all of it in each reply."""
    model, small = f"openai:[red]m[/oops]@{base_url}", ["--dialogues", "2", "--lines", "1", "--split", "train"]
    log, labels = "[red]log[link=x].jsonl", "labels.jsonl"
    yield ["bench", model, "scripted", *small, "--personas", "people.jsonl", "--out", "[b]bench[link=x]"]
    yield from (["audit", log, "--json", name] for name in ("[i]audit[link=x].json", "no/such/[/oops]"))
    yield ["play", "--simulator", model, "--split", "dev"]
    for judge, out in (("oracle", "[b]calibrated[link=x]"), (model, "[b]remote[link=x]")):
        yield ["judge", "calibrate", "--judge", judge, "--labels", labels, "--out", out]
    yield ["train", "--simulator", "hf:[red]x[/oops]"]
    yield ["train", "--rewards", "[/oops]=1"]
    yield ["train", "--dry-run", "--out", "[red]run[link=x]"]
    for name in ("broken.jsonl", "broken.json"):
        yield ["audit", name]
        yield ["judge", "calibrate", "--judge", "oracle", "--labels", name]
    yield ["train", "--config", "broken.toml"]
    for text in HOSTILE:
        if "\x00" not in text:
            yield from (["audit", text], ["train", "--role", text], ["bench", text])
    if training:
        yield ["train", "--config", "run.toml", "--personas", "people.jsonl", "--out", "[red]run[link=x]"]


def _looked_at(written: Path) -> list[str]:
    """Returns what is live in a file; weights and databases are no texts."""
    if written.suffix in _LIVE:
        return [f"{written.name!a} is a live format"]
    if written.suffix in (".safetensors", ".sqlite") or ".sqlite-" in written.name:
        return []
    return [f"{written.name!a}: {found}" for found in steering(written.read_bytes().decode("utf-8"))]


def hits(*, training: bool) -> tuple[int, list[str]]:
    """Runs all; returns how many commands, and what reached the terminal or a file."""
    found, count = printed(), 0
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        folder = Path(name)
        prepared(folder)
        given = {file for file in folder.rglob("*") if file.is_file()}
        with FaultServer(answer=lambda prompt: f"{ALL} {prompt[:20]}") as server:
            for arguments in commands(server.base_url, training=training):
                count += 1
                ran = run(arguments, said=f"{ALL[:40].split(chr(27))[0]}\n\n")
                steers = steering(ran.out + ran.err) if ran.code in (0, 2, 78) else [f"{ran.code}: {ran.err[-100:]!a}"]
                found += [f"{arguments!a:.60}: {how}" for how in steers]
        for file in folder.rglob("*"):
            found += _looked_at(file) if file.is_file() and file not in given else []
    return count, found


@demand(
    "R19",
    f"{len(HOSTILE)} hostile texts (markup, ANSI, OSC, bidi, HTML, Markdown, formulas) in names, prompts, lines, "
    "replies, paths and model ids, through many commands",
    "0 hits: no control sequence or markup in terminal or file, no crash",
)
def hostile_output() -> Measured:
    count, found = hits(training=True)
    return not found, f"{len(found)} hits in {count} commands{few(found)}"
