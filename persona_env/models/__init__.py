"""Language models: loaded from files (`hf`, `merging`), or asked through an OpenAI-compatible server (`chat_api`).

What both share: `reply_cache` keeps replies on disk, `limits` counts what is used and how much is allowed.
"""

from __future__ import annotations

from persona_env.models.chat import ChatReply, ChatRequest
from persona_env.models.endpoint import Endpoint
from persona_env.models.faults import RemoteFault, Unavailable
from persona_env.models.limits import ModelResources, Usage, UsageLimit
from persona_env.models.reply_cache import ReplyCache, reply_key

__all__ = [
    "ChatReply",
    "ChatRequest",
    "Endpoint",
    "ModelResources",
    "RemoteFault",
    "ReplyCache",
    "Unavailable",
    "Usage",
    "UsageLimit",
    "reply_key",
]
