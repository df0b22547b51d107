"""How the tokens of a dialogue are written, and how many of them the longest dialogue has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from persona_env.conversation import Conversation
from persona_env.envs.engine import DialogueEngine
from persona_env.errors import InputError
from persona_env.persona import Persona

if TYPE_CHECKING:
    from persona_env.speakers.chat_format import ChatFormat
    from persona_env.speakers.local import LanguageModel

__all__ = ["context_length", "load_format"]

_REPLY_TOKENS = 64  # room for a reply of a task agent that does not say how long its replies are
_MEASURED = 16  # of the texts that seem the longest, to find the one with the most tokens


def load_format(
    simulator: str | LanguageModel | ChatFormat,
    chat_template: str | None = None,
    template_kwargs: Mapping[str, Any] | None = None,
) -> ChatFormat:
    """Returns how a simulator's tokens are written; `CannotCompose` if its template has no fixed segments."""
    if not isinstance(simulator, str):
        found: Any = simulator
        return getattr(found, "chat", found)
    from persona_env.speakers.chat_format import ChatFormat
    from persona_env.speakers.local import load_tokenizer

    return ChatFormat.derive(load_tokenizer(simulator), chat_template, template_kwargs)


def context_length(chat: ChatFormat, engine: DialogueEngine, context: int | None) -> int:
    """Returns the context asked for, if it is not known to be too short, or one that holds the longest dialogue.

    The longest dialogue is the longest persona, `max_lines` lines, what comes in between them, and one probe with its
    answer. It is known where the task agent has a `longest_reply` (a text).
    """
    line = engine.max_tokens + 1
    reply = None if engine.task_agent is None else engine.task_agent.longest_reply
    prompts, wordings = _texts(engine.personas)
    opening = max(len(chat.opening(prompt, reply or "")) for prompt in _longest(chat, prompts))
    limit = None if engine.task_agent is None else engine.task_agent.max_tokens
    guess = _REPLY_TOKENS if limit is None else 2 * limit  # another model's tokens may be longer
    heard = guess if reply is None else len(chat.incoming(reply))
    probe = max((len(chat.incoming(text)) for text in _longest(chat, wordings)), default=heard)
    updates = sum(len(chat.incoming(update.text)) for update in engine.scenario.updates)
    replies = engine.max_lines if reply is None else engine.max_lines - 1  # the opening holds a known one
    longest = opening + engine.max_lines * line + replies * heard + probe + line + updates
    if context is None:
        return longest + longest // 8  # texts of fewer characters may have more tokens
    needed = longest if reply is not None else opening + line
    if context < needed:
        raise InputError(
            f"Expected context >= {needed} for {engine.max_lines} lines of {engine.max_tokens} tokens, "
            f"got {context}: raise context, or lower max_lines or max_tokens."
        )
    return context


@lru_cache(8)
def _texts(personas: Sequence[Persona]) -> tuple[set[str], set[str]]:
    """Returns the prompts of all personas, and the wordings of all their questions."""
    items = (item for persona in personas for item in persona.questions)
    wordings = {text for item in items for text in (*item.wordings, *item.held_out_wordings)}
    return {Conversation(persona).system("simulator") for persona in personas}, wordings


def _longest(chat: ChatFormat, texts: set[str]) -> list[str]:
    """Returns the texts with the most tokens if each word is encoded alone: once, as it comes in many of them."""
    count = cache(lambda word: len(chat.own(word)))
    return sorted(texts, key=lambda text: sum(map(count, text.split())))[-_MEASURED:]
