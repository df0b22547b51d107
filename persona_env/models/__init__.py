"""Language models, from files (`hf`, `merging`) or behind an OpenAI-compatible server (`chat_api`)."""
