"""A server of chat completions that judges by the oracle: the truth behind the interface of a real model.

Run: python -m tests.reliability.oracle_server PORT      (a process of its own, to be killed like one)
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from persona_env.judges import AnswerVsGold, LineVsHistory, LineVsPersona, LineVsPrevious, Query
from persona_env.judges.prompts import JudgePrompts
from persona_env.persona import Persona
from persona_env.world import personas
from persona_env.world.oracle import OracleJudge

__all__ = ["Handler", "answer", "serve"]

_ORACLE, _PROMPTS = OracleJudge(), JudgePrompts.load()
_PEOPLE = {person.prompt: person for split in ("train", "dev") for person in personas("patient", split)}
_KINDS = ("line_vs_persona", "line_vs_history", "answer_vs_gold", "line_vs_previous")


def _pattern(shown: str) -> re.Pattern[str]:
    """Returns what finds the texts in a filled prompt again."""
    parts = re.split(r"\{(\w+)\}", shown)
    return re.compile("".join(f"(?P<{part}>.*?)" if i % 2 else re.escape(part) for i, part in enumerate(parts)), re.S)


def _query(kind: str, texts: dict[str, str]) -> Query:
    def text(name: str) -> str:
        return json.loads(texts[name])

    if kind == "line_vs_history":
        earlier = tuple(json.loads(line.partition(": ")[2]) for line in texts["earlier"].splitlines())
        return LineVsHistory("patient", text("line"), earlier)
    if kind == "answer_vs_gold":
        choices = tuple(json.loads(texts["choices"]))
        return AnswerVsGold("patient", text("question"), text("gold"), text("answer"), choices)
    person: Persona | None = _PEOPLE.get(text("persona")) if "persona" in texts else None
    if kind == "line_vs_previous":
        return LineVsPrevious(person or next(iter(_PEOPLE.values())), text("heard"), text("line"))
    assert person is not None
    return LineVsPersona(person, text("line"), text("heard"))


def _read(user: str) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yields kind, polarity and texts of a prompt of ours."""
    for kind in _KINDS:
        wording = _PROMPTS.roles["patient"].wordings[kind]
        for polarity, asked in (("negative", wording.negative), ("positive", wording.positive)):
            if user.startswith(f"{asked}\n\n"):
                shown = user[len(asked) + 2 :].rpartition("\n\n")[0]  # the form of the answer comes last
                found = _pattern(wording.shown).fullmatch(shown)
                if found:
                    yield kind, polarity, found.groupdict()


def answer(user: str, key: str) -> str:
    """Returns what an exact judge replies to one of our prompts: a JSON object with this key."""
    kind, polarity, texts = next(_read(user))
    query = _query(kind, texts)
    verdict = _ORACLE.judge([query])[0]
    if isinstance(query, LineVsHistory):
        numbers = set(range(1, len(query.earlier) + 1))
        bad = {place + 1 for place in verdict.conflicts}
        return json.dumps({key: sorted(bad if polarity == "negative" else numbers - bad)})
    yes = (verdict.label == "consistent") == (polarity == "positive")
    return json.dumps({key: "A" if yes else "B"})


class Handler(BaseHTTPRequestHandler):
    """Answers chat completions, and nothing else."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[None]] = []

    def do_POST(self) -> None:
        """Answers a chat completion."""
        self.asked.append(None)
        body: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        user = body["messages"][-1]["content"]
        key = re.findall(r'\{"(\w+)": ', user)[-1]
        message = {"role": "assistant", "content": self.reply_to(user, key)}
        self._send(
            {
                "id": "x", "object": "chat.completion", "created": 0, "model": body["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": len(user) // 4, "completion_tokens": 8, "total_tokens": 8 + len(user) // 4},
            }
        )  # fmt: skip

    def reply_to(self, user: str, key: str) -> str:
        """Returns the text of the reply."""
        return answer(user, key)

    def do_GET(self) -> None:
        """Says how many completions were asked for."""
        self._send({"asked": len(self.asked)})

    def _send(self, value: dict[str, Any]) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads, request_queue_size = True, 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing: who was killed does not wait for an answer."""


def serve(port: int) -> None:
    """Serves until the process ends."""
    _Server(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
