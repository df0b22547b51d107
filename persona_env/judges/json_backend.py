"""A model behind an OpenAI-compatible server that answers in closed JSON; every reply is checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from persona_env.errors import JudgeUnreliable
from persona_env.judges.backend import JudgeAnswer, JudgeBackend, JudgePrompt
from persona_env.judges.json_answers import answer_id, answer_schema, answers_another, read_answer
from persona_env.judges.llm import LLMJudge
from persona_env.judges.prompts import JudgePrompts
from persona_env.models.chat import ChatReply, ChatRequest
from persona_env.models.chat_api import ChatClient
from persona_env.models.endpoint import Endpoint
from persona_env.models.faults import BadReply, RemoteFault, WrongForm
from persona_env.models.request_options import sampling_temperature
from persona_env.settings import number

__all__ = ["JSONBackend", "openai_judge"]

_LABEL = (
    'Reply with one JSON object and nothing else: {"id": "%(id)s", "answer": "A"} or {"id": "%(id)s", "answer": "B"}.'
)
_LIST = (
    'Reply with one JSON object and nothing else, such as {"id": "%(id)s", "%(key)s": [1, 2]} or '
    '{"id": "%(id)s", "%(key)s": []}.'
)


class JSONBackend(JudgeBackend):
    """Asks a server for closed JSON answers (`openai:<model>@<base_url>`).

    The schema is sent as `response_format`, and each reply is checked, as a server may accept a schema and ignore it.
    A reply repeats an id that stands for what was asked: one that comes twice, or to another request, is never taken
    for another's. One of wrong form is asked for once more; then its answer has a `problem`, as has one whose reply
    never came. Label probabilities are not asked for: a server may make them up. An answer with a label has at most
    `max_tokens`; a list gets 4 more for each line. After `max_unreadable` answers in a row with a problem the run ends
    in order.

    Example:
        `JSONBackend(ChatClient(Endpoint.parse("some-model@http://127.0.0.1:8000/v1")))`
    """

    lists = True
    is_remote = True

    def __init__(
        self,
        client: ChatClient,
        *,
        max_tokens: int | str = 48,
        temperature: float | str | None = 0.0,
        max_unreadable: int = 256,
    ):
        self.client, self.max_tokens = client, number("max_tokens", max_tokens, int, ge=1)
        self.temperature = sampling_temperature(temperature)
        self.max_unreadable, self._unreadable = number("max_unreadable", max_unreadable, int, ge=1), 0
        self.parts = (client,)

    @property
    def identity(self) -> Mapping[str, Any]:
        """The model, where it is served, and how it is asked, as plain data; never a key."""
        return {
            "backend": "json",
            **self.client.endpoint.identity,
            "instruction": sha256(f"{_LABEL}\n{_LIST}".encode()).hexdigest(),
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        }

    def answer(self, prompts: Sequence[JudgePrompt]) -> list[JudgeAnswer]:
        """Returns the answers, in order; raises JudgeUnreliable if too many in a row have a problem."""
        replies = self.client.complete([self._request(prompt) for prompt in prompts])
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
        id = answer_id(prompt)
        instruction = (_LIST if prompt.items else _LABEL) % {"id": id, "key": prompt.key}
        return ChatRequest(
            messages=(("system", prompt.system), ("user", f"{prompt.user}\n\n{instruction}")),
            max_tokens=self.max_tokens + 4 * prompt.items,
            temperature=self.temperature,
            schema=answer_schema(prompt),
            accept=partial(_accept, prompt, id),
        )


def _accept(prompt: JudgePrompt, id: str, reply: ChatReply) -> None:
    """Raises where a reply answers something else, or in another form."""
    if answers_another(reply.text, id):
        raise BadReply("the reply answers something else: it repeats another id")
    if problem := read_answer(reply.text, prompt, id).problem:
        raise WrongForm(f"the reply {problem}")


def _answer(reply: ChatReply | RemoteFault, prompt: JudgePrompt) -> JudgeAnswer:
    if isinstance(reply, RemoteFault):
        return JudgeAnswer(problem=f"never came: {' '.join(str(reply).split())[:160]}")
    return read_answer(reply.text, prompt, answer_id(prompt))


def openai_judge(
    spec: str,
    *,
    prompts: str | Path | None = None,
    max_tokens: int | str = 48,
    temperature: float | str = 0.0,
    **options: str,
) -> LLMJudge:
    """Returns the judge of a model behind a server (`openai:<model>[@<base_url>]`, with `RequestOptions`)."""
    texts, client = JudgePrompts.load(prompts), ChatClient(Endpoint.parse(spec, options))
    return LLMJudge(JSONBackend(client, max_tokens=max_tokens, temperature=temperature), texts)
