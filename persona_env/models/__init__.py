"""Chat completions of OpenAI-compatible servers, through whatever goes wrong with them.

In here: `Endpoint` (which model, where), `ChatRequest` and `ChatReply`, the typed faults. The client itself
is `persona_env.models.client.ChatClient`, and needs the extra `openai`.
"""

from __future__ import annotations

from persona_env.models.chat import ChatReply, ChatRequest, Usage
from persona_env.models.endpoint import Endpoint
from persona_env.models.faults import RemoteFault, Unavailable

__all__ = ["ChatReply", "ChatRequest", "Endpoint", "RemoteFault", "Unavailable", "Usage"]
