"""A model behind an OpenAI-compatible server, asked for closed JSON: what a server accepts it need not honour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from persona_env.errors import InputError, JudgeUnreliable
from persona_env.judges.backend import Answer, JudgePrompt
from persona_env.judges.json_answers import answer_schema, form_problem, read_answer
from persona_env.models.chat import ChatReply, ChatRequest
from persona_env.models.faults import BadReply, RemoteFault
from persona_env.models.limits import Usage

if TYPE_CHECKING:
    from persona_env.models.chat_api import ChatClient

__all__ = ["JSONBackend"]

_LABEL = 'Reply with one JSON object and nothing else: {"answer": "A"} or {"answer": "B"}.'
_LIST = 'Reply with one JSON object and nothing else, such as {"%s": [1, 2]} or {"%s": []}.'
_LASTING = (BadReply,)
"""What is wrong with a reply that came, or with a question that the server cannot survive; the rest may pass."""


class JSONBackend:
    """Asks a server for closed JSON answers (`openai:<model>@<base_url>`).

    The schema goes along as `response_format`, and every reply must prove that it was kept: exactly one JSON
    object with the one key that was asked for, and a value that was allowed. Another reply is asked again as
    often as the client does that; then its answer has a `problem`. So has one whose reply never came (an outage,
    a wrong key), which is `lost` as well. When `unread` of them come in a row, the server does not honour what it
    was asked for (or the model cannot do it), and the run ends in order instead of going on without a reward.
    Label probabilities are not asked for: a server may make them up.

    Args:
        client: The client. Its `complete` gets all queries of a call at once, both polarities.
        max_tokens: The most tokens of an answer with a label; a list gets 4 more for each line.
        unread: How many answers in a row may be unreadable.

    Example:
        `JSONBackend(ChatClient(Endpoint.parse("some-model@http://127.0.0.1:8000/v1")))`
    """

    lists = True

    def __init__(self, client: ChatClient, *, max_tokens: int = 32, unread: int = 256):
        if max_tokens < 1 or unread < 1:
            raise InputError(f"Expected max_tokens and unread >= 1, got {max_tokens} and {unread}: allow some.")
        self.client, self.max_tokens, self.unread = client, max_tokens, unread
        self._endpoint = client.endpoint
        self._in_a_row = 0

    @property
    def identity(self) -> Mapping[str, Any]:
        """The model, where it is served, and how it is asked, as plain data; never a key."""
        asked = sha256(f"{_LABEL}\n{_LIST}".encode()).hexdigest()
        model, base_url = self._endpoint.model, self._endpoint.base_url
        return {
            "asker": "remote",
            "model": model,
            "base_url": base_url,
            "asked": asked,
            "temperature": 0.0,
            "max_tokens": self.max_tokens,
        }

    @property
    def usage(self) -> Usage:
        """What the client has used so far."""
        return self.client.usage

    def ask(self, queries: Sequence[JudgePrompt]) -> list[Answer]:
        """Returns the answers, in order.

        Raises:
            JudgeUnreliable: If too many replies in a row could not be read.
            Unavailable: If the server stays down; `answers` has what there is, by place.
        """
        replies = self.client.complete([self._request(query) for query in queries], accept=_accept)
        answers = [_answer(reply, query) for reply, query in zip(replies, queries, strict=True)]
        for answer in answers:
            self._in_a_row = self._in_a_row + 1 if answer.problem else 0
            if self._in_a_row >= self.unread:
                raise JudgeUnreliable(
                    f"Expected JSON answers from {self._endpoint.model}, got {self._in_a_row} in a row that cannot be "
                    f"read (the last {answer.problem}): use a server that honours response_format, or another model."
                )
        return answers

    def __repr__(self) -> str:
        return f"JSONBackend({self._endpoint.model!r})"

    def _request(self, query: JudgePrompt) -> ChatRequest:
        form = _LIST % (query.key, query.key) if query.items else _LABEL
        return ChatRequest(
            messages=(("system", query.system), ("user", f"{query.user}\n\n{form}")),
            max_tokens=self.max_tokens + 4 * query.items,
            schema=answer_schema(query),
        )


def _accept(reply: ChatReply) -> None:
    """Raises where a reply has none of the closed forms: it is asked again."""
    problem = form_problem(reply.text)
    if problem:
        raise BadReply(f"the reply {problem}")


def _answer(reply: ChatReply | RemoteFault, query: JudgePrompt) -> Answer:
    if isinstance(reply, RemoteFault):
        problem = f"never came: {' '.join(str(reply).split())[:160]}"
        return Answer(problem=problem, lost=not isinstance(reply, _LASTING))
    return read_answer(reply.text, query)
