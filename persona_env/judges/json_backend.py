"""A model behind an OpenAI-compatible server that answers in closed JSON; every reply is checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from persona_env.errors import JudgeUnreliable
from persona_env.judges.backend import JudgeAnswer, JudgeBackend, JudgePrompt
from persona_env.judges.json_answers import answer_schema, read_answer
from persona_env.judges.llm import LLMJudge
from persona_env.judges.prompts import JudgePrompts
from persona_env.models.chat import ChatReply, ChatRequest
from persona_env.models.chat_api import ChatClient
from persona_env.models.endpoint import Endpoint
from persona_env.models.faults import BadReply, RemoteFault
from persona_env.settings import number

__all__ = ["JSONBackend", "openai_judge"]

_LABEL = 'Reply with one JSON object and nothing else: {"answer": "A"} or {"answer": "B"}.'
_LIST = 'Reply with one JSON object and nothing else, such as {"%s": [1, 2]} or {"%s": []}.'


class JSONBackend(JudgeBackend):
    """Asks a server for closed JSON answers (`openai:<model>@<base_url>`).

    The schema is sent as `response_format`, and each reply is checked, as a server may accept a schema and ignore it.
    Any other reply is asked for again as often as the client does that; then its answer has a `problem`, as has one
    whose reply never came. Label probabilities are not asked for: a server may make them up. An answer with a label has
    at most `max_tokens`; a list gets 4 more for each line. After `max_unreadable` answers in a row with a problem the
    run ends in order.

    Example:
        `JSONBackend(ChatClient(Endpoint.parse("some-model@http://127.0.0.1:8000/v1")))`
    """

    lists = True
    is_remote = True

    def __init__(self, client: ChatClient, *, max_tokens: int | str = 32, max_unreadable: int = 256):
        self.client, self.max_tokens = client, number("max_tokens", max_tokens, int, ge=1)
        self.max_unreadable, self._unreadable = number("max_unreadable", max_unreadable, int, ge=1), 0
        self.parts = (client,)

    @property
    def identity(self) -> Mapping[str, Any]:
        """The model, where it is served, and how it is asked, as plain data; never a key."""
        return {
            "backend": "json",
            "model": self.client.endpoint.model,
            "base_url": self.client.endpoint.base_url,
            "instruction": sha256(f"{_LABEL}\n{_LIST}".encode()).hexdigest(),
            "temperature": 0.0,
            "max_tokens": self.max_tokens,
        }

    def answer(self, prompts: Sequence[JudgePrompt]) -> list[JudgeAnswer]:
        """Returns the answers, in order; raises JudgeUnreliable if too many in a row have a problem."""
        replies = self.client.complete([self._request(prompt) for prompt in prompts], accept=_accept)
        answers = [_answer(reply, prompt) for reply, prompt in zip(replies, prompts, strict=True)]
        for answer in answers:
            self._unreadable = self._unreadable + 1 if answer.problem else 0
            if self._unreadable >= self.max_unreadable:
                raise JudgeUnreliable(
                    f"Expected JSON answers from {self.client.endpoint.model}, got {self._unreadable} in a row that "
                    f"cannot be read (the last {answer.problem}): use a server that honours response_format, or "
                    "another model."
                )
        return answers

    def _request(self, prompt: JudgePrompt) -> ChatRequest:
        instruction = _LIST % (prompt.key, prompt.key) if prompt.items else _LABEL
        return ChatRequest(
            messages=(("system", prompt.system), ("user", f"{prompt.user}\n\n{instruction}")),
            max_tokens=self.max_tokens + 4 * prompt.items,
            schema=answer_schema(prompt),
        )


def _accept(reply: ChatReply) -> None:
    """Raises where a reply has none of the closed forms: it is asked for again."""
    if problem := read_answer(reply.text).problem:
        raise BadReply(f"the reply {problem}")


def _answer(reply: ChatReply | RemoteFault, prompt: JudgePrompt) -> JudgeAnswer:
    if isinstance(reply, RemoteFault):
        return JudgeAnswer(problem=f"never came: {' '.join(str(reply).split())[:160]}")
    return read_answer(reply.text, prompt)


def openai_judge(spec: str, *, prompts: str | Path | None = None, max_tokens: int | str = 32) -> LLMJudge:
    """Returns the judge of a model behind a server (`openai:<model>[@<base_url>]`)."""
    texts = JudgePrompts.load(prompts)
    return LLMJudge(JSONBackend(ChatClient(Endpoint.parse(spec)), max_tokens=max_tokens), texts)
