"""A language model that talks: the one file that calls transformers to load a model and to speak."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub.utils import disable_progress_bars, enable_progress_bars
from huggingface_hub.utils import are_progress_bars_disabled as hub_bars_disabled
from numpy.typing import NDArray
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from persona_env.conversation import ChatMessage, View
from persona_env.speakers.chat_format import ChatFormat, joined
from persona_env.speakers.kv_cache import Decoder, make_decoder, usable_length

__all__ = ["LanguageModel", "load_model", "load_tokenizer"]

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_REMEMBERED = 4096


class LanguageModel:
    """A speaker: any causal language model with a chat template.

    What was read stays cached between calls, so that a turn runs only what is new. The token ids of the
    own lines are kept as they were sampled; a line that it has not said is encoded from its text.

    Args:
        model: The model; it is put into evaluation mode.
        tokenizer: Its tokenizer.
        chat: The chat format; found from the tokenizer if None.
        max_tokens: The most tokens of a line, its end token included.
        temperature: 0 takes the likeliest token.

    Raises:
        ValueError: If the arguments do not fit together.

    Example:
        `LanguageModel.load("hf:Qwen/Qwen2.5-0.5B-Instruct").reply([conversation.view("simulator", seed=1)])`
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
        if max_tokens < 1:
            raise ValueError(
                f"Expected max_tokens >= 1, got {max_tokens}: allow at least one token."
            )
        if not 0 <= temperature < float("inf"):
            raise ValueError(
                f"Expected temperature >= 0, got {temperature}: 1.0 samples as the model is."
            )
        self.chat = chat or ChatFormat.derive(tokenizer)
        if model.config.get_text_config().vocab_size < self.chat.vocabulary:
            raise ValueError(
                f"Expected a model with {self.chat.vocabulary} tokens, got "
                f"{model.config.get_text_config().vocab_size}: load the tokenizer that belongs to it."
            )
        self.model, self.tokenizer = model.eval(), tokenizer
        self.max_tokens, self.temperature = max_tokens, temperature
        self._forbidden = torch.tensor(self.chat.forbidden_ids, dtype=torch.long)
        self._ends = np.array(sorted(self.chat.end_ids))
        self._said: dict[_Spoken, NDArray[np.int64]] = {}
        self._decoder: Decoder | None = None
        self._used = np.zeros(0, np.int64)
        self._weights = -1

    @classmethod
    def load(
        cls,
        spec: str,
        *,
        chat_template: str | None = None,
        template_kwargs: Mapping[str, Any] | None = None,
        max_tokens: int = 24,
        temperature: float = 1.0,
    ) -> LanguageModel:
        """Loads the model and tokenizer that a spec names.

        Args:
            spec: `tiny` or `hf:<folder or hub id>`.
            chat_template: Used instead of the tokenizer's own, and saved with it.
            template_kwargs: Passed on to the template.
            max_tokens: See the class.
            temperature: See the class.

        Raises:
            ValueError: If the model cannot be loaded, or its chat template does not compose.
        """
        tokenizer = load_tokenizer(spec)
        chat = ChatFormat.derive(tokenizer, chat_template, template_kwargs)
        if chat_template is not None:
            tokenizer.chat_template = chat.template
        return cls(
            load_model(spec), tokenizer, chat, max_tokens=max_tokens, temperature=temperature
        )

    def reply(self, views: Sequence[View]) -> list[str]:
        """Returns the next line for each view; each view's seed alone decides what is sampled.

        Raises:
            ValueError: If a context is too long for the model, or a view ends with the speaker's own line.
        """
        if not views:
            return []
        contexts = [self._context(view) for view in views]
        decoder = self._ready_decoder(contexts)
        slots = self._assign(decoder, contexts)
        order = np.argsort(slots)
        uniforms = np.stack(
            [np.random.default_rng(view.seed).random(self.max_tokens) for view in views]
        )
        lines = self._generate(decoder, slots[order], [contexts[i] for i in order], uniforms[order])
        texts = [""] * len(views)
        for i, line in zip(order, lines, strict=True):
            texts[i] = self.chat.decode(line)
            self._remember(views[i], texts[i], contexts[i], line)
        return texts

    def forget(self) -> None:
        """Drops what was read; needed where weights were exchanged in a way that torch does not count."""
        if self._decoder is not None:
            self._decoder.forget()

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Saves weights (safetensors), tokenizer and chat template, as `hf:<folder>` loads them."""
        with _quiet():
            self.model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)

    def _context(self, view: View) -> list[int]:
        """The view as token ids; own lines as they were sampled, where they were."""
        messages = view.messages
        for cut in range(len(messages) - 1, 0, -1):
            if not messages[cut - 1].own or messages[cut].own:
                continue
            known = self._said.get((view.system, messages[:cut]))
            if known is not None:
                ids = known.tolist()
                for line in joined(messages[cut:]):
                    ids += self.chat.own(line.text) if line.own else self.chat.heard(line.text)
                return ids
        return self.chat.context(view)

    def _remember(self, view: View, text: str, context: list[int], line: list[int]) -> None:
        closed = line if line[-1] in self.chat.end_ids else [*line, self.chat.end_id]
        if len(self._said) >= max(_REMEMBERED, 4 * len(self._used)):
            del self._said[next(iter(self._said))]
        key = (view.system, (*view.messages, ChatMessage(True, text)))
        self._said[key] = np.array(context + closed)

    def _ready_decoder(self, contexts: Sequence[list[int]]) -> Decoder:
        """The decoder, with a row for each context, and nothing in it that other weights have read."""
        limit = usable_length(self.model)
        longest = max(map(len, contexts))
        if longest + self.max_tokens > limit:
            raise ValueError(
                f"Expected a context of at most {limit - self.max_tokens} tokens, got {longest}: "
                "give the dialogue fewer or shorter lines."
            )
        if self._decoder is None:
            self._decoder = make_decoder(self.model, len(contexts), limit)
        self._decoder.grow(len(contexts))
        self._used = np.pad(self._used, (0, self._decoder.rows - len(self._used)))
        weights = sum(parameter._version for parameter in self.model.parameters())
        if weights != self._weights:
            self._decoder.forget()
            self._weights = weights
        return self._decoder

    def _assign(self, decoder: Decoder, contexts: Sequence[list[int]]) -> NDArray[np.int64]:
        """Gives each context a row of its own: the one with which it has the longest beginning in common."""
        slots = np.full(len(contexts), -1)
        free = np.ones(decoder.rows, bool)
        for i, context in enumerate(
            contexts
        ):  # as a rule the i-th is the i-th of the last call, continued
            n = int(decoder.n[i])
            if n and n <= len(context) and np.array_equal(decoder.ids[i, :n], context[:n]):
                slots[i], free[i] = i, False
        left = np.flatnonzero(slots < 0)
        if len(left):
            oldest = np.flatnonzero(free)[np.argsort(self._used[free], kind="stable")]
            common = np.stack([decoder.common_prefix(contexts[i], oldest) for i in left])
            for u in np.argsort(-common.max(1), kind="stable"):
                best = int(common[u].argmax())
                slots[left[u]] = oldest[best]
                common[:, best] = -1
        self._used[slots] = self._used.max() + 1
        return slots

    def _generate(
        self,
        decoder: Decoder,
        rows: NDArray[np.int64],
        contexts: Sequence[list[int]],
        uniforms: NDArray[np.float64],
    ) -> list[list[int]]:
        """Samples a line for each row; rows that have ended idle."""
        n = np.array([len(context) for context in contexts])
        ids = np.zeros((len(rows), n.max()), np.int64)
        ids[np.arange(n.max()) < n[:, None]] = np.concatenate(contexts)
        lines: list[list[int]] = [[] for _ in rows]
        active = np.arange(len(rows))
        logits, _ = decoder.extend(ids, n, rows)
        for step in range(self.max_tokens):
            tokens = self._sample(logits, uniforms[active, step])
            for i, token in zip(active.tolist(), tokens.tolist(), strict=True):
                lines[i].append(token)
            talking = ~np.isin(tokens, self._ends)
            active, tokens = active[talking], tokens[talking]
            if not len(active) or step == self.max_tokens - 1:
                break
            logits, _ = decoder.append(rows[active], tokens)
        return lines

    def _sample(self, logits: Tensor, uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
        """Inverse of the distribution function at one uniform draw a row."""
        logits = logits[:, : self.chat.vocabulary].float()
        logits.index_fill_(1, self._forbidden.to(logits.device), torch.finfo(logits.dtype).min)
        if self.temperature == 0:
            return logits.argmax(-1).cpu().numpy()
        total = (logits / self.temperature).softmax(-1).cumsum(-1, dtype=torch.float64)
        target = torch.from_numpy(uniforms).to(logits.device)[:, None] * total[:, -1:]
        below = torch.nextafter(total[:, -1:], torch.zeros_like(target))
        return (
            torch.searchsorted(total, torch.minimum(target, below), right=True)[:, 0].cpu().numpy()
        )


_Spoken = tuple[str, tuple[ChatMessage, ...]]


def load_tokenizer(spec: str) -> PreTrainedTokenizerBase:
    """Loads the tokenizer of `tiny` or `hf:<folder or hub id>`.

    Raises:
        ValueError: If there is none, in one line that says why.
    """
    source = _source(spec)
    with _quiet(), _explained(spec):
        return AutoTokenizer.from_pretrained(source, trust_remote_code=False)


def load_model(spec: str) -> PreTrainedModel:
    """Loads the model of `tiny` or `hf:<folder or hub id>`, in evaluation mode.

    On a GPU in the precision that it was saved in; on the CPU, and for `tiny`, in float32. Only safetensors,
    never code from the folder or the hub.

    Raises:
        ValueError: If it cannot be loaded, or weights are missing or not finite.
    """
    source = _source(spec)
    on_gpu = torch.cuda.is_available() and spec != "tiny"
    _check_weight_files(source)
    with _quiet(), _explained(spec):
        model, found = AutoModelForCausalLM.from_pretrained(
            source,
            dtype="auto" if on_gpu else torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    if found["missing_keys"]:
        name = min(found["missing_keys"])
        raise ValueError(
            f"Expected all weights in {spec}, got none for {name}: save the whole model."
        )
    for name, weight in model.named_parameters():
        if not torch.isfinite(weight).all():
            raise ValueError(
                f"Expected finite weights in {spec}, got nan or infinity in {name}: train it anew."
            )
    return (model.to("cuda") if on_gpu else model).eval()


def _source(spec: str) -> str:
    """The folder or hub id that a spec names."""
    kind, colon, rest = spec.partition(":")
    if spec == "tiny":
        return str(files("persona_env") / "world" / "model")
    if kind != "hf" or not rest:
        raise ValueError(
            f"Expected a model tiny or hf:<folder or hub id>, got {spec!r}: use one of these."
        )
    folder = Path(rest).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ValueError(
                f"Expected a model in {rest}, got a folder without config.json: name the model's own."
            )
        return str(folder)
    if not _HUB_ID.fullmatch(rest) or rest.startswith("."):
        raise ValueError(
            f"Expected a model folder, got {rest}, which does not exist: check the path."
        )
    return rest


def _check_weight_files(source: str) -> None:
    folder = Path(source)
    if folder.is_dir() and not list(folder.glob("*.safetensors")):
        found = (
            "pickled ones"
            if list(folder.glob("*.bin")) or list(folder.glob("*.pt"))
            else "no weights"
        )
        raise ValueError(
            f"Expected weights as safetensors in {source}, got {found}: "
            "save them with save_pretrained, pickles are not loaded."
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences progress bars and notes while something is loaded or saved."""
    verbosity, bars, hub_bars = (
        logging.get_verbosity(),
        logging.is_progress_bar_enabled(),
        not hub_bars_disabled(),
    )
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
        if hub_bars:
            enable_progress_bars()


@contextlib.contextmanager
def _explained(spec: str) -> Iterator[None]:
    """Turns the many errors of loading into one line."""
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        why = str(error).strip().split("\n")[0][:200]
        raise ValueError(
            f"Expected a model or tokenizer at {spec}, got an error ({why}): give a folder that holds one, "
            "or a hub id while the hub can be reached."
        ) from error
