"""A language model as a speaker."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from persona_env.conversation import Line, Message, Side, View
from persona_env.errors import InputError
from persona_env.models.hf import WeightsDigest, load_model, load_tokenizer, quiet, vocabulary_digest
from persona_env.models.merging import base_model, save_merged
from persona_env.models.thoughts import without_thought
from persona_env.settings import number
from persona_env.speakers.base import Speaker, withheld_line
from persona_env.speakers.chat_format import ChatFormat
from persona_env.speakers.decoding.decoder import Decoder, Ints, usable_length
from persona_env.speakers.decoding.kv_cache import make_decoder
from persona_env.speakers.own_line import own_line

__all__ = ["LanguageModel", "load_model", "load_tokenizer"]

_MOST_SAMPLED = 4096  # contexts whose sampled tokens are stored

_Spoken = tuple[Side, str, tuple[Message, ...]]


class LanguageModel(Speaker):
    """A speaker: any causal language model with a chat template.

    Keys and values stay cached between calls, so that a turn runs only the new tokens. Its own lines are in the
    context as the tokens that it sampled; a line that it did not sample, or not wholly (a thought, the other side's
    words are no part of it), is encoded from its text.

    The model, perhaps with adapters of `peft`, is put into evaluation mode; the chat format is the tokenizer's if None.
    A line has at most `max_tokens` tokens, its end included; `temperature` 0 always takes the most probable token.

    Example:
        `LanguageModel.load("tiny").reply([conversation.view("simulator", seed=1)])`
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        chat: ChatFormat | None = None,
        *,
        max_tokens: int = 24,
        temperature: float = 1.0,
    ):
        self.max_tokens = number("max_tokens", max_tokens, int, ge=1)
        self.temperature = number("temperature", temperature, float, ge=0)
        self.chat = chat or ChatFormat.derive(tokenizer)
        logits = model.config.get_text_config().vocab_size
        if logits < self.chat.vocabulary:
            raise InputError(
                f"Expected a model with {self.chat.vocabulary} tokens, got one with {logits}: "
                "load the tokenizer that belongs to it."
            )
        self.model, self.tokenizer = base_model(model).eval(), tokenizer
        self._digest = WeightsDigest(self.model)
        self._forbidden = torch.tensor(self.chat.forbidden_ids, dtype=torch.long)
        self._ends = np.array(sorted(self.chat.end_ids))
        self.reset_cache()

    @classmethod
    def load(
        cls,
        spec: str,
        *,
        chat_template: str | None = None,
        template_kwargs: Mapping[str, Any] | None = None,
        max_tokens: int = 24,
        temperature: float = 1.0,
        dtype: str = "auto",
        device: str = "auto",
        load_in_4bit: bool = False,
    ) -> LanguageModel:
        """Loads the model and the tokenizer of a `model_spec`, such as `hf:<folder>`; see also `load_model`.

        A `chat_template` is used instead of the tokenizer's own, and saved with its `template_kwargs` in it.

        Raises:
            InputError: If an option is wrong, they cannot be loaded, or the chat template does not compose.
        """
        max_tokens = number("max_tokens", max_tokens, int, ge=1)
        temperature = number("temperature", temperature, float, ge=0)
        tokenizer = load_tokenizer(spec)
        chat = ChatFormat.derive(tokenizer, chat_template, template_kwargs)
        tokenizer.chat_template = chat.template
        model = load_model(spec, dtype=dtype, device=device, load_in_4bit=load_in_4bit)
        return cls(model, tokenizer, chat, max_tokens=max_tokens, temperature=temperature)

    @property
    def identity(self) -> Mapping[str, Any]:
        """The weights, the template, the tokens and how they are sampled. Reads all weights when they are new."""
        return {
            "kind": "hf",
            "weights": str(self._digest),
            "dtype": str(self.model.dtype),
            "template": sha256(self.chat.template.encode("utf-8")).hexdigest(),
            "vocabulary": vocabulary_digest(self.tokenizer),
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        }

    def reply(self, views: Sequence[View]) -> list[str]:
        """Returns the next line for each view; what is sampled depends on the view's seed alone.

        Raises:
            InputError: If a context is too long for the model, or a view ends with the side's own line.
        """
        if not views:
            return []
        contexts = [self._context(view) for view in views]
        decoder = self._ready_decoder(contexts)
        rows = self._assign_rows(decoder, contexts)
        draws = [np.random.default_rng(view.seed).random(self.max_tokens) for view in views]
        order = np.argsort(rows)  # neighbouring rows are read without a copy
        lines = self._generate(decoder, rows[order], [contexts[i] for i in order], np.stack(draws)[order])
        said = [Line("")] * len(views)
        for i, line in zip(order.tolist(), lines, strict=True):
            written = self.chat.written(line)
            text = without_thought(written)
            said[i] = withheld_line(views[i]) if text is None else own_line(text, views[i])
            if said[i] == written:
                self._remember(views[i], said[i], contexts[i], line)
        return list(said)

    def reset_cache(self) -> None:
        """Drops all caches; later lines are bit-identical to those of a newly loaded speaker."""
        self._sampled: dict[_Spoken, Ints] = {}
        self._decoder: Decoder | None = None
        self._last_used = np.zeros(0, np.int64)
        self._weights = -1

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Saves weights (safetensors, adapters merged), tokenizer and chat template, as `hf:<folder>` loads them."""
        folder = os.path.expanduser(folder)
        with quiet():
            save_merged(self.model, folder)
            self.chat.save_pretrained(folder)

    def __deepcopy__(self, memo: dict[int, Any]) -> LanguageModel:
        return self  # an environment's spec copies its arguments: a model is shared, not copied

    def _context(self, view: View) -> list[int]:
        messages = view.messages
        for cut in range(len(messages) - 1, 0, -1):
            if view.is_own(messages[cut - 1]) and not view.is_own(messages[cut]):
                known = self._sampled.get((view.side, view.system, messages[:cut]))
                if known is not None:
                    return known.tolist() + self.chat.continuation(replace(view, messages=messages[cut:]).chat()[1:])
        return self.chat.context(view)

    def _remember(self, view: View, text: str, context: list[int], line: list[int]) -> None:
        closed = line if line[-1] in self.chat.end_ids else [*line, self.chat.end_id]
        if len(self._sampled) >= max(_MOST_SAMPLED, 4 * len(self._last_used)):
            del self._sampled[next(iter(self._sampled))]
        messages = (*view.messages, Message.said(view.side, text))
        self._sampled[view.side, view.system, messages] = np.array(context + closed)

    def _ready_decoder(self, contexts: Sequence[list[int]]) -> Decoder:
        """The decoder, with enough rows, and emptied if the weights have changed."""
        longest, room = max(map(len, contexts)), usable_length(self.model) - self.max_tokens
        if longest > room:
            raise InputError(
                f"Expected a context of at most {room} tokens, got {longest}: give the dialogue fewer or shorter lines."
            )
        if self._decoder is None or self._decoder.rows < len(contexts):
            decoder = make_decoder(self.model, len(contexts), usable_length(self.model))
            self._decoder, self._last_used = decoder, np.zeros(len(contexts), np.int64)
        weights = sum(parameter._version for parameter in self.model.parameters())
        if weights != self._weights:
            self._decoder.clear_cache()
            self._weights = weights
        return self._decoder

    def _assign_rows(self, decoder: Decoder, contexts: Sequence[list[int]]) -> Ints:
        """Gives each context the row with which it has the longest common prefix."""
        rows = np.full(len(contexts), -1)
        free = np.ones(decoder.rows, bool)
        for i, context in enumerate(contexts):  # usually the i-th continues the i-th of the last call
            n = int(decoder.n[i])
            if 0 < n <= len(context) and np.array_equal(decoder.ids[i, :n], context[:n]):
                rows[i], free[i] = i, False
        left = np.flatnonzero(rows < 0)
        if len(left):
            oldest_first = np.flatnonzero(free)[np.argsort(self._last_used[free], kind="stable")]
            common = np.stack([decoder.common_prefix(np.array(contexts[i]), oldest_first) for i in left.tolist()])
            for u in np.argsort(-common.max(1), kind="stable"):
                best = int(common[u].argmax())
                rows[left[u]] = oldest_first[best]
                common[:, best] = -1
        self._last_used[rows] = self._last_used.max() + 1
        return rows

    def _generate(
        self, decoder: Decoder, rows: Ints, contexts: Sequence[list[int]], draws: NDArray[np.float64]
    ) -> list[list[int]]:
        """Samples a line for each row."""
        n = np.array([len(context) for context in contexts])
        ids = np.zeros((len(rows), n.max()), np.int64)
        ids[np.arange(n.max()) < n[:, None]] = np.concatenate(contexts)
        lines: list[list[int]] = [[] for _ in contexts]
        speaking = np.arange(len(rows))
        logits, _ = decoder.extend(ids, n, rows)
        for step in range(self.max_tokens):
            tokens = self._sample(logits, draws[speaking, step])
            for i, token in zip(speaking.tolist(), tokens.tolist(), strict=True):
                lines[i].append(token)
            continues = ~np.isin(tokens, self._ends)
            speaking, tokens = speaking[continues], tokens[continues]
            if not len(speaking) or step == self.max_tokens - 1:
                break
            logits, _ = decoder.append(rows[speaking], tokens)
        return lines

    def _sample(self, logits: Tensor, draws: NDArray[np.float64]) -> Ints:
        """Samples by inversion with one uniform draw per row: logits (R, V) and draws (R,) to tokens (R,)."""
        logits = logits[:, : self.chat.vocabulary].float()
        logits.index_fill_(1, self._forbidden.to(logits.device), torch.finfo(logits.dtype).min)
        if self.temperature == 0:
            return logits.argmax(-1).cpu().numpy()
        total = (logits / self.temperature).softmax(-1).cumsum(-1, dtype=torch.float64)
        whole = total[:, -1:].contiguous()
        target = torch.from_numpy(draws).to(logits.device)[:, None] * whole
        target = torch.minimum(target, torch.nextafter(whole, torch.zeros_like(whole)))
        return torch.searchsorted(total, target, right=True)[:, 0].cpu().numpy()
