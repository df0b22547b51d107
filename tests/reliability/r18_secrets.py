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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import quote

from persona_env.calibration.label_file import Labelled, save_labels
from persona_env.conversation import Conversation
from persona_env.judges import LineVsHistory, load_judge
from persona_env.speakers import load_speaker
from persona_env.world import personas
from tests.judges.backends import reply
from tests.models.behaviours import Behaviour, Call, Wire, well
from tests.models.fault_server import FaultServer
from tests.reliability.commands import TINY_RUN, run
from tests.reliability.demands import Measured, demand, few

KEY = "sk-hunter2+/=0123456789-GEHEIM"
PASSWORD = "p4ss:w0rd/GEHEIM"
_ENV = {"OPENAI_API_KEY": KEY}


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


def told(arguments: list[Any]) -> bytes:
    """Runs a command and returns all that it said."""
    ran = run(arguments, said="How do you sleep?\n\n", env=_ENV)
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
            shown = repr(work())
        except Exception as error:
            shown = "".join(traceback.format_exception(error)) + repr(error)
        yield f"in memory {number}", shown.encode()


def scenes(server: FaultServer, folder: Path, *, training: bool) -> Iterator[tuple[str, list[Any]]]:
    """Yields commands that handle the secrets."""
    judge, labels = f"openai:m@{server.base_url}", folder / "labels.jsonl"
    good, bad = (LineVsHistory("patient", line, ("I sleep four hours.",)) for line in ("Four.", "I sleep two hours."))
    save_labels(labels, [Labelled(good, "consistent", "p0"), Labelled(bad, "inconsistent", "p1")])
    (folder / "run.toml").write_text(TINY_RUN)
    yield "calibrate", ["judge", "calibrate", "--judge", judge, "--labels", labels, "--out", folder / "calibrated"]
    yield "bench", ["bench", judge, "--dialogues", "1", "--lines", "1", "--split", "dev", "--out", folder / "bench"]
    yield "play", ["play", "--simulator", judge, "--split", "dev"]
    if training:
        cache, out = folder / "cache.sqlite", folder / "run"
        more = ["--judge-cache", cache, "--max-invalid", "1", "--out", out]
        yield "train", ["train", "--config", folder / "run.toml", "--judge", judge, *more]
    url = server.base_url.replace("://", f"://ann:{PASSWORD.replace('/', '%2F')}@")
    other = server.base_url.replace("://", "://ann:GEHEIM@")
    specs = (f"openai:m@{url}", f"openai:m@{other}", f"opnai:m@{other}", f"hf:{other}", f"ensemble:oracle,x@{other}")
    for number, spec in enumerate(specs):
        out = folder / f"never-{number}"
        yield "calibrate, password", ["judge", "calibrate", "--judge", spec, "--labels", labels, "--out", out]
        yield "train, password", ["train", "--judge", spec, "--out", out]
        yield "bench, password", ["bench", spec, "--out", out]
        yield "play, password", ["play", "--simulator", spec]


def hits(*, training: bool) -> tuple[int, int, int, list[str]]:
    """Runs all; returns commands, files and bytes looked at, and where a secret was found."""
    found, logged, root = list[str](), io.StringIO(), logging.getLogger()
    with (
        tempfile.TemporaryDirectory() as name,
        mock.patch.dict(os.environ, _ENV),
        mock.patch.object(root, "handlers", [*root.handlers, logging.StreamHandler(logged)]),
        contextlib.ExitStack() as undo,
    ):
        undo.callback(root.setLevel, root.level)
        root.setLevel(logging.DEBUG)
        folder = Path(name)
        with contextlib.chdir(folder), FaultServer(sometimes, answer=reply) as server:
            said = [(what, told(words)) for what, words in scenes(server, folder, training=training)]
            assert {call.headers.get("authorization") for call in server.calls} == {f"Bearer {KEY}"}
        with FaultServer(lambda call: echo(401)) as refusing:
            shown = list(errors(refusing.base_url))
        written = [(str(path.relative_to(folder)), path.read_bytes()) for path in folder.rglob("*") if path.is_file()]
    for where, data in (*written, *said, *shown, ("logs", logged.getvalue().encode())):
        found += [f"{secret} in {where}" for secret in leaks(data) + leaks(where.encode())]
        found += [f"password in {where}"] if b"GEHEIM" in data and not leaks(data) else []
    return len(said), len(written), sum(len(data) for _, data in written), found


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
