"""A local model that answers by the probabilities of its labels: nothing is generated, nothing is parsed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from persona_env.errors import InputError
from persona_env.judges.backend import LABELS, Answer, JudgePrompt
from persona_env.models.limits import Usage
from persona_env.speakers.chat_format import ChatFormat
from persona_env.speakers.decoding.decoder import FullForwardDecoder, usable_length
from persona_env.speakers.local import load_model, load_tokenizer

__all__ = ["LabelProbBackend"]

_ASKED = "Answer with one letter and nothing else: A or B."
_STEP = 1e-3


class LabelProbBackend:
    """Asks a Hugging Face causal language model for one of two letters (`hf:<folder or hub id>`).

    The letters' probabilities are read off the logits at the place of the first answered token, over the letters
    alone. One forward pass serves a batch of queries; contexts are padded on the right, where a causal model does
    not look. Probabilities are rounded to 0.001, so that a verdict hangs on its query alone and not on the batch
    that it was read in.

    What cannot be trusted has a `problem` instead of a label: both letters equally likely; together less likely
    than `least`, so that the model wants to say something else; a context that is too long; control tokens in the
    prompt that are not the template's.

    Args:
        model: The model; it is put into evaluation mode.
        tokenizer: Its tokenizer, with a chat template.
        name: What it is called in errors and in its identity.
        tokens: The most tokens of a batch, padding included; one context may have more.
        least: The least that the probabilities of both letters together must be, in [0, 1).

    Raises:
        ValueError: If an argument cannot be used, the chat template does not compose, or the letters are not
            different single tokens.

    Example:
        `LabelProbBackend.load("some-org/some-model").ask([query])[0].probability`
    """

    lists = False

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        name: str = "",
        *,
        tokens: int = 16384,
        least: float = 0.01,
    ):
        if tokens < 1:
            raise InputError(f"Expected tokens >= 1, got {tokens}: allow at least one token in a batch.")
        if not 0 <= least < 1:
            raise InputError(f"Expected least in [0, 1), got {least}: 0.01 refuses what says something else.")
        self.model, self.chat, self.name = model.eval(), ChatFormat.derive(tokenizer), name
        self.tokens, self.least = tokens, least
        self._length = usable_length(model)
        self._lead, self._labels = self._label_ids()
        added: dict[int, Any] = self.chat.tokenizer.added_tokens_decoder  # pyright: ignore[reportAttributeAccessIssue]
        special = {index for index, token in added.items() if token.special}
        self._controls = special | set(self.chat.forbidden_ids) | set(self.chat.end_ids)
        self._framing = self._count_controls(self.chat.opening("A.", "B."))
        self._usage = Usage()
        self._weights = (-1, "")

    @classmethod
    def load(cls, rest: str, *, tokens: int = 16384, least: float = 0.01) -> LabelProbBackend:
        """Loads a model by its folder or hub id.

        Raises:
            ValueError: If it cannot be loaded, or cannot judge; one line says why.
        """
        tokenizer = load_tokenizer(f"hf:{rest}")
        return cls(load_model(f"hf:{rest}"), tokenizer, rest, tokens=tokens, least=least)

    @property
    def identity(self) -> Mapping[str, Any]:
        """The weights, the template and the settings, as plain data. Reads all weights when they are new."""
        template = sha256(self.chat.template.encode("utf-8")).hexdigest()
        vocabulary = sha256(repr(sorted(self.chat.tokenizer.get_vocab().items())).encode("utf-8", "replace"))
        return {
            "asker": "local",
            "weights": self._weights_digest(),
            "dtype": str(self.model.dtype),
            "template": template,
            "vocabulary": vocabulary.hexdigest(),
            "asked": _ASKED,
            "least": self.least,
        }

    @property
    def usage(self) -> Usage:
        """Queries and prompt tokens so far; nothing is generated."""
        return self._usage

    def ask(self, queries: Sequence[JudgePrompt]) -> list[Answer]:
        """Returns the answers, in order."""
        contexts = [self._context(query) for query in queries]
        answers = [Answer(problem=self._problem(query, ids)) for query, ids in zip(queries, contexts, strict=True)]
        readable = [i for i, answer in enumerate(answers) if not answer.problem]
        for batch in self._batches(readable, contexts):
            for i, answer in zip(batch, self._read([contexts[i] for i in batch]), strict=True):
                answers[i] = answer
        used = sum(len(contexts[i]) for i in readable)
        self._usage = replace(
            self._usage, calls=self._usage.calls + len(readable), prompt_tokens=self._usage.prompt_tokens + used
        )
        return answers

    def __repr__(self) -> str:
        return f"LabelProbBackend({self.name!r})"

    def _label_ids(self) -> tuple[list[int], list[int]]:
        """Returns what stands before a label in an own line, and the one token of each label."""
        spelled = [self.chat.own(label)[:-1] for label in LABELS]
        lead = spelled[0][:-1]
        ids = {ids[-1] for ids in spelled if ids and ids[:-1] == lead}
        unknown: Any = self.chat.tokenizer.unk_token_id
        if len(ids) != len(LABELS) or unknown in ids:
            letters = " and ".join(LABELS)
            raise InputError(
                f"Expected a tokenizer with a token for each of {letters}, got {spelled} from {self.name or 'it'}: "
                "use another model."
            )
        return lead, [spelled_ids[-1] for spelled_ids in spelled]

    def _context(self, query: JudgePrompt) -> list[int]:
        return [*self.chat.opening(query.system, f"{query.user}\n\n{_ASKED}"), *self._lead]

    def _count_controls(self, ids: Sequence[int]) -> int:
        return sum(i in self._controls for i in ids)

    def _problem(self, query: JudgePrompt, ids: Sequence[int]) -> str:
        if query.items:
            return "would have to be a list, which label probabilities cannot give"
        if len(ids) > self._length:
            return f"was not asked for: its prompt has {len(ids)} tokens, the model reads {self._length}"
        if self._count_controls(ids) != self._framing:
            return "was not asked for: its prompt holds control tokens that are not the template's"
        return ""

    def _batches(self, places: Sequence[int], contexts: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        """Yields places of contexts of about the same length, within the budget of tokens."""
        batch: list[int] = []
        for place in sorted(places, key=lambda i: (len(contexts[i]), i)):
            if batch and (len(batch) + 1) * len(contexts[place]) > self.tokens:
                yield batch
                batch = []
            batch.append(place)
        if batch:
            yield batch

    def _read(self, contexts: Sequence[Sequence[int]]) -> list[Answer]:
        lengths = np.array([len(ids) for ids in contexts], np.int64)
        rows = np.arange(len(contexts))
        forward = FullForwardDecoder(self.model, len(contexts), int(lengths.max()))
        logits, _ = forward.step(rows, np.zeros_like(lengths), lengths, np.concatenate(contexts).astype(np.int64))
        logits = logits[:, : self.chat.vocabulary].float()
        letters = logits[:, self._labels]
        mass = (letters.logsumexp(-1) - logits.logsumexp(-1)).exp().cpu().tolist()
        chances = letters.softmax(-1)[:, 0].cpu().tolist()
        return [self._answer(chance, sure) for chance, sure in zip(chances, mass, strict=True)]

    def _answer(self, chance: float, mass: float) -> Answer:
        """Returns the answer of a model that gives A this chance, where A and B together have that probability."""
        if not (0 <= chance <= 1 and mass >= 0):
            return Answer(problem="has probabilities that are not numbers")
        first = round(chance, 3)
        raw = f"A {first:.3f}, B {1 - first:.3f}"
        if mass < self.least:
            return Answer(problem=f"wants to say something else: A and B together have less than {self.least}", raw=raw)
        if abs(first - 0.5) < _STEP / 2:
            return Answer(problem="is undecided between A and B", raw=raw)
        label = LABELS[0] if first > 0.5 else LABELS[1]
        return Answer(label, max(first, 1 - first), raw=raw)

    def _weights_digest(self) -> str:
        version = sum(parameter._version for parameter in self.model.parameters())
        if self._weights[0] != version:
            found = sha256(str(self.model.config.to_json_string(use_diff=False)).encode("utf-8"))
            for name, weight in sorted(self.model.state_dict().items()):
                found.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
                found.update(weight.detach().contiguous().cpu().flatten().view(torch.uint8).numpy().data)
            self._weights = (version, found.hexdigest())
        return self._weights[1]
