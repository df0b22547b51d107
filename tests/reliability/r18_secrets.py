"""R18: keys and passwords: in one header on the wire, and in nothing that is written, logged, raised or shown."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import logging
import os
import pickle
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import quote

from persona_env.calibration.label_file import Labelled, save_labels
from persona_env.conversation import Conversation
from persona_env.judges import LineVsHistory, load_judge
from persona_env.speakers import load_speaker
from persona_env.world import personas
from tests.models.behaviours import Behaviour, Call, Wire, well
from tests.models.fault_server import FaultServer
from tests.reliability.commands import run
from tests.reliability.demands import Measured, demand, few
from tests.reliability.oracle_server import reply

KEY = "sk-hunter2+/=0123456789-GEHEIM"
PASSWORD = "p4ss:w0rd/GEHEIM"
_ENV = {"OPENAI_API_KEY": KEY}
_CONFIG = (
    "envs = 4\nsteps = 8\ntokens = 32\nbatch = 32\nlines = 1\ndialogues = 2\nextended_dialogues = 0\n"
    'split = "dev"\nthreads = 1\n'
)


def forms(secret: str) -> list[bytes]:
    """Returns how a secret may be written down: as it is, in base64 from any place, in a URL, in hex, in JSON."""
    raw = secret.encode()
    packed = [base64.b64encode(b" " * shift + raw)[4:-4] for shift in range(3)]
    return [raw, quote(secret, safe="").encode(), raw.hex().encode(), json.dumps(secret)[1:-1].encode(), *packed]


_FORMS = {name: forms(secret) for name, secret in (("key", KEY), ("password", PASSWORD))}


def leaks(data: bytes) -> list[str]:
    """Returns which secrets stand in some bytes."""
    return [name for name, found in _FORMS.items() if any(form in data for form in found)]


def echo(code: int) -> Behaviour:
    """Sends the key back, in the body and in a header."""

    async def behave(wire: Wire) -> None:
        said = json.dumps({"error": {"message": f"Incorrect API key: {wire.call.headers.get('authorization')}"}})
        await wire.respond(said.encode(), code, x_key=KEY)

    return behave


async def tell(wire: Wire) -> None:
    """Replies with the key in the message."""
    body = json.loads(wire.body)
    body["choices"][0]["message"]["content"] = f"The key is {KEY}"
    await wire.respond(json.dumps(body).encode())


def sometimes(call: Call) -> Behaviour:
    """Answers rightly, and each fifth time with the key in the reply or in an error."""
    return (echo(500), tell)[call.number // 5 % 2] if call.number % 5 == 4 else well


def labelled(path: Path) -> Path:
    """Writes a few labels that the oracle can judge."""
    said = (("I sleep four hours.", "consistent"), ("I never sleep.", "inconsistent"))
    votes = [
        Labelled(LineVsHistory("patient", line, ("I sleep four hours.",)), label, f"p{i}")  # pyright: ignore[reportArgumentType]
        for i, (line, label) in enumerate(said)
    ]
    save_labels(path, votes)
    return path


def _shown(error: BaseException) -> str:
    """Returns all that an error tracker would write down: message, chain, frames and their locals."""
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join(told.format()) + repr(error)


def told(arguments: list[Any]) -> bytes:
    """Runs a command and returns all that it said."""
    try:
        ran = run(arguments, said="How do you sleep?\n\n", env=_ENV)
    except Exception as error:
        return _shown(error).encode()
    return (ran.out + ran.err).encode()


def errors(base_url: str) -> Iterator[tuple[str, bytes]]:
    """Yields what is raised and held in memory by judges and speakers that a server, or a spec, lets down."""
    talk = Conversation(personas("patient", "dev")[0])
    judge, speaker = load_judge(f"openai:m@{base_url}"), load_speaker(f"openai:m@{base_url}")
    works: list[Callable[[], object]] = [
        lambda: (judge, judge.identity, speaker, speaker.identity),
        lambda: pickle.dumps(judge),
        lambda: pickle.dumps(speaker),
        lambda: judge.judge([LineVsHistory("patient", "A.", ("B.",))]),
        lambda: speaker.reply([talk.with_reply("Hi.").view("simulator", 1)]),
    ]
    for number, work in enumerate(works):
        try:
            yield f"in memory {number}", repr(work()).encode()
        except Exception as error:
            yield f"in memory {number}", "".join(traceback.format_exception(error)).encode() + repr(error).encode()


def password_specs(base_url: str) -> list[str]:
    """Returns specs with a password in the URL."""
    url = base_url.replace("://", f"://ann:{PASSWORD.replace('/', '%2F')}@")
    other = base_url.replace("://", "://ann:GEHEIM@")
    return [f"openai:m@{url}", f"openai:m@{other}", f"opnai:m@{other}", f"hf:{other}", f"ensemble:oracle,x@{other}"]


def scenes(server: FaultServer, folder: Path, *, training: bool) -> Iterator[tuple[str, list[Any]]]:
    """Yields commands that handle the secrets."""
    judge, labels = f"openai:m@{server.base_url}", labelled(folder / "labels.jsonl")
    (folder / "run.toml").write_text(_CONFIG)
    yield "calibrate", ["judge", "calibrate", "--judge", judge, "--labels", labels, "--out", folder / "calibrated"]
    yield "bench", ["bench", judge, "--dialogues", "1", "--lines", "1", "--split", "dev", "--out", folder / "bench"]
    yield "play", ["play", "--simulator", judge, "--split", "dev"]
    if training:
        cache, out = folder / "cache.sqlite", folder / "run"
        more = ["--judge-cache", cache, "--max-invalid", "1", "--out", out]
        yield "train", ["train", "--config", folder / "run.toml", "--judge", judge, *more]
    for number, spec in enumerate(password_specs(server.base_url)):
        out = folder / f"never-{number}"
        yield "calibrate, password", ["judge", "calibrate", "--judge", spec, "--labels", labels, "--out", out]
        yield "train, password", ["train", "--judge", spec, "--out", out]
        yield "bench, password", ["bench", spec, "--out", out]
        yield "play, password", ["play", "--simulator", spec]


def hits(*, training: bool) -> tuple[int, int, int, list[str]]:
    """Runs all; returns commands, files and bytes looked at, and where a secret was found."""
    said, found, logged = list[tuple[str, bytes]](), list[str](), io.StringIO()
    handler, root = logging.StreamHandler(logged), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        with tempfile.TemporaryDirectory() as name, mock.patch.dict(os.environ, _ENV):
            folder = Path(name)
            with contextlib.chdir(folder), FaultServer(sometimes, answer=reply) as server:
                said += [(what, told(words)) for what, words in scenes(server, folder, training=training)]
                sent = {call.headers.get("authorization") for call in server.calls}
            with FaultServer(lambda call: echo(401)) as refusing:
                shown = list(errors(refusing.base_url))
            written = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    assert sent == {f"Bearer {KEY}"}, "the key was not used at all"
    looked: Mapping[str, bytes] = {str(file.relative_to(folder)): data for file, data in written.items()}
    for where, data in (*looked.items(), *said, *shown, ("logs", logged.getvalue().encode())):
        found += [f"{secret} in {where}" for secret in leaks(data) + leaks(where.encode())]
        found += [f"password in {where}"] if b"GEHEIM" in data and not leaks(data) else []
    return len(said), len(looked), sum(map(len, looked.values())), found


@demand(
    "R18",
    "commands (train and judge calibrate among them) with a key and passwords in URLs; a server that sends the key "
    "back; logs at DEBUG, errors, repr, pickles",
    "0 hits, in plain, base64, URL, hex and JSON form",
)
def secrets() -> Measured:
    commands, files, size, found = hits(training=True)
    told = f"{len(found)} hits in {files} files of {size / 1e6:.1f} MB and all that {commands} commands said"
    return not found and files > 10, f"{told}{few(found)}"
