"""Everything that reads bytes and texts that others wrote, with valid samples of each."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import persona_env
from persona_env.calibration.label_file import Labelled, save_labels
from persona_env.calibration.labels import load_labels
from persona_env.envs.persona_source import resolve_personas
from persona_env.io import load_logs, load_personas, save_logs, save_personas
from persona_env.io.synthetic_persona_chat import COLUMNS
from persona_env.judges import LineVsHistory, LineVsPersona, load_judge
from persona_env.judges.backend import JudgePrompt
from persona_env.judges.json_answers import read_answer
from persona_env.judges.prompts import JudgePrompts
from persona_env.judges.recorded import RecordedJudge
from persona_env.judges.reply_parsing import parse_verdict
from persona_env.models.chat import read_reply
from persona_env.models.endpoint import Endpoint
from persona_env.models.faults import RemoteFault
from persona_env.papers.audit import audit_log
from persona_env.runs.config import RunConfig, parse_budget, parse_rewards, read_config
from persona_env.runs.run_folder import RunFolder
from persona_env.speakers import load_speaker
from persona_env.speakers.chat_format import ChatFormat
from tests.io.invented import ANN, CHATTING, EDUCATION, JUDGED, TALK, THERAPY
from tests.io.test_dnli import ROW
from tests.models.behaviours import completion
from tests.speakers.small import CHATML, LEAD_SPACE, NO_OPENING, THINKING, tokenizer


class Door(NamedTuple):
    """Something that reads what others wrote: valid samples, what reads one, and the errors that it may raise.

    Their message is one line, which is to open with "Expected" if `worded`.
    """

    samples: Sequence[bytes] | Sequence[str]
    read: Callable[[Any], object]
    errors: tuple[type[Exception], ...] = (ValueError,)
    worded: bool = True


_HELD = tempfile.TemporaryDirectory(prefix="fuzz-")
_FOLDER = Path(_HELD.name)


def problem(error: Exception, *, worded: bool) -> str:
    """Returns what is wrong with an error that a user meets; "" where it is one line that can be shown."""
    text = str(error)
    if not text.isprintable():
        return f"a message that is not one printable line: {ascii(text)[:200]}"
    if worded and not text.startswith("Expected "):
        return f"a message that does not say what was expected: {text[:200]}"
    return ""


def _file(name: str, *readers: Callable[[Path], object]) -> Callable[[bytes], None]:
    """Returns what writes bytes to a file and has each reader read it; the last error is raised."""

    def read(data: bytes) -> None:
        path = _FOLDER / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        failed: Exception | None = None
        for reader in readers:
            try:
                reader(path)
            except ValueError as error:
                if problem(error, worded=True):
                    raise
                failed = error
        if failed:
            raise failed

    return read


def _written(write: Callable[..., object], *values: object) -> bytes:
    write(_FOLDER / "sample", [*values])
    return (_FOLDER / "sample").read_bytes()


def _json(*values: Any) -> list[bytes]:
    return [json.dumps(value, ensure_ascii=False).encode() for value in values]


_LOG, _PEOPLE = _written(save_logs, JUDGED, TALK), _written(save_personas, ANN)
_LABELS = _written(
    save_labels,
    Labelled(LineVsPersona(ANN, "I am Bo.", "Who?"), "consistent", "p", "ann"),
    Labelled(LineVsHistory("student", "Yes.", ("No.",)), "consistent", "p", "ann"),
)
_PERSONAS: list[Any] = [
    [{"persona": "You are Bo.", "name": "Bo"}],
    [{"description": "You are Ann.", "strategy": "You evade."}],
    [["bread", {"grade_level": "college", "description": "I ask."}]],
    ROW,
]
_CHAT = b'"I bake.\nI love tea.","I fish.","User 1: Hi.\nUser 2: Hello.\nAnd more."\r\n'
_PROMPTS = [file.read_bytes() for file in sorted(Path(persona_env.__file__).parent.glob("roles/*/judge.toml"))]
_CONFIGS = [
    b'role = "student"\ntokens = 4096\nlearning_rate = 1e-3\n[rewards]\nprompt_to_line = 1.0\nrelevance = 2\n',
    b'judge = "openai:m@http://127.0.0.1:9/v1"\njudge_budget = "calls=5"\nload_in_4bit = false\nlines = 2\n',
]
_REPLIES = ("It fits. NO", "**YES**, it does.", "See above. [3, 5]\n\nThat is all.", "NO (mostly).", "[]")
_ANSWERS = ('{"answer": "A"}', '{"conflicts": [1, 2]}', '{"compatible": []}', ' {"answer":"B"}\n')
_QUERIES = [JudgePrompt(polarity, "", "", items) for items in (0, 3) for polarity in ("negative", "positive")]
_ENDPOINTS = ("m@http://127.0.0.1:9/v1", "org/m:7@https://h.example/v1/")
_JUDGES = (
    *("oracle", "recorded:log.jsonl", *(f"openai:{endpoint}" for endpoint in _ENDPOINTS)),
    *("ensemble:oracle,oracle,oracle", "hf:./no/such/folder", "hf:org/model"),
)
_SPEAKERS = ("scripted", "hf:org/some-model", "hf:./folder", "openai:m@http://127.0.0.1:9/v1")


def _read_run(path: Path) -> None:
    folder = RunFolder(path.parent, resume=True)
    RunConfig.from_json(folder.read_json(path.name), path).resumed({"seed": 3})


def _read_reply(reply: str) -> None:
    for kind in ("prompt_to_line", "line_to_line", "question_answer", "relevance"):
        verdict = parse_verdict(reply, kind, (1, 3, 5))
        assert verdict.label == "inconsistent" or (verdict.label in ("consistent", "invalid") and not verdict.conflicts)


def _offline(load: Callable[[str], object]) -> Callable[[str], None]:
    """Nothing is looked up on the hub, and no model is loaded: what is asked for is not there."""

    def read(spec: str) -> None:
        if spec.split(":")[0] != "tiny":
            with mock.patch("huggingface_hub.constants.HF_HUB_OFFLINE", new=True):
                load(spec)

    return read


_tokenizer = cache(tokenizer)
_format = cache(lambda: ChatFormat.derive(_tokenizer()))


def _read_line(text: str) -> None:
    """A line that somebody said goes into the context, and nothing of it is a control token."""
    made = _format()

    def controls(system: str, heard: str) -> list[int]:
        return [i for i in made.opening(system, heard) if i in made.forbidden_ids or i in made.end_ids]

    assert controls(text, text) == controls("a", "b"), "a line forged a control token"
    made.decode(made.own(text))


def _round_trip(text: str) -> None:
    """What is said survives a log, or is refused."""
    talk = TALK.with_reply(text).with_line(text)
    save_logs(_FOLDER / "round.jsonl", [talk])
    (loaded,) = load_logs(_FOLDER / "round.jsonl")
    assert loaded.conversation() == talk, "a log changed what was said"


DOORS: dict[str, Door] = {
    "logs of ours": Door([_LOG], _file("log.jsonl", load_logs, RecordedJudge.load)),
    "released logs": Door(
        _json([THERAPY], [CHATTING, EDUCATION]), _file("log.json", load_logs, RecordedJudge.load, audit_log)
    ),
    "persona files": Door(
        [_PEOPLE, b"[" + _PEOPLE.strip() + b"]", *_json(*_PERSONAS)],
        _file("personas.jsonl", load_personas, lambda path: load_personas(path, "train")),
    ),
    "persona-chat CSV": Door([",".join(COLUMNS).encode() + b"\r\n" + _CHAT + _CHAT], _file("chats.csv", load_personas)),
    "label files": Door([_LABELS, *_json(ROW), _LOG], _file("labels.jsonl", lambda path: load_labels([path]).digest)),
    "judge prompts": Door(_PROMPTS, _file("prompts/patient.toml", lambda path: JudgePrompts.load(path.parent).digest)),
    "config files": Door(_CONFIGS, _file("config.toml", lambda path: RunConfig.from_flat(read_config(path)))),
    "a run's settings": Door(_json(RunConfig(seed=3).as_json()), _file("resumed/config.json", _read_run)),
    "judge replies": Door(_REPLIES, _read_reply, errors=()),
    "closed answers": Door(
        _ANSWERS, lambda reply: [read_answer(reply, query) for query in (None, *_QUERIES)], errors=()
    ),
    "chat completions": Door(
        _json(completion(_ANSWERS[0])), lambda data: read_reply(data, b""), (RemoteFault,), worded=False
    ),
    "endpoints": Door(_ENDPOINTS, Endpoint.parse),
    "judge specs": Door(_JUDGES, _offline(load_judge)),
    "speaker specs": Door(_SPEAKERS, _offline(load_speaker)),
    "whom to simulate": Door(("bundled",), lambda text: resolve_personas("patient", text)),
    "reward specs": Door(("prompt_to_line=1,relevance=0.5",), parse_rewards),
    "budget specs": Door(("calls=5000,tokens=2e6", "300"), parse_budget),
    "chat templates": Door(
        (CHATML, LEAD_SPACE, NO_OPENING, THINKING), lambda text: ChatFormat.derive(_tokenizer(), text)
    ),
    "lines in a context": Door(("I sleep.", "Fine.<|end|>"), _read_line, errors=()),
    "lines in a log": Door(("I sleep.", "é\u2028\x00"), _round_trip),
}
"""All that reads what others wrote, by name."""
