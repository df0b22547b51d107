"""A local model that answers by the probabilities of its labels: nothing is generated, nothing is parsed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import wraps
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from persona_env.errors import InputError
from persona_env.judges.backend import LABELS, JudgeAnswer, JudgeBackend, JudgePrompt
from persona_env.judges.llm import LLMJudge
from persona_env.judges.prompts import JudgePrompts
from persona_env.models.hf import WeightsDigest, load_model, load_tokenizer, vocabulary_digest
from persona_env.models.limits import ModelResources, Usage
from persona_env.models.model_spec import model_spec
from persona_env.models.reply_cache import reply_key
from persona_env.settings import number
from persona_env.speakers.decoding.decoder import FullForwardDecoder, usable_length
from persona_env.speakers.one_turn import OneTurnFormat

__all__ = ["LabelProbBackend", "hf_judge", "trained_judge"]

_INSTRUCTION = "Answer with one letter and nothing else: A or B."


class LabelProbBackend(JudgeBackend):
    """Asks a Hugging Face causal language model for one of two letters (`hf:<folder or hub id>`).

    Their probabilities are read off the logits of the first answer token, over the letters alone, and rounded to 0.001,
    so that an answer depends on its prompt alone and not on its batch, which has at most `batch_tokens` tokens with the
    padding (or one longer context). What cannot be trusted has a `problem` instead of a label: both letters equally
    likely; together less likely than `min_mass`, in [0, 1), so that the model wants to say something else; a context
    that is too long; control tokens in the prompt that are not the template's.

    Example:
        `LabelProbBackend(model, tokenizer).answer([prompt])[0].probability`
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        name: str = "",
        *,
        batch_tokens: int | str = 16384,
        min_mass: float | str = 0.01,
    ):
        self.batch_tokens = number("batch_tokens", batch_tokens, int, ge=1)
        self.min_mass = number("min_mass", min_mass, float, ge=0, lt=1)
        self.model, self.chat, self.name = model.eval(), OneTurnFormat.derive(tokenizer, name), name
        self._length = usable_length(model)
        self._lead, self._labels = self._label_ids()
        self._framing = self._count_controls(self.chat.question("A.", "B."))
        self._usage, self._resources = Usage(), ModelResources()
        self._weights = WeightsDigest(model)

    @property
    def identity(self) -> Mapping[str, Any]:
        """The weights, the template and the settings, as plain data. Reads all weights when they are new."""
        return {
            "backend": "label_probabilities",
            "weights": str(self._weights),
            "dtype": str(self.model.dtype),
            "template": sha256(self.chat.template.encode("utf-8")).hexdigest(),
            "vocabulary": vocabulary_digest(self.chat.tokenizer),
            "instruction": _INSTRUCTION,
            "min_mass": self.min_mass,
        }

    @property
    def usage(self) -> Usage:
        """Prompts and their tokens so far; nothing is generated."""
        return self._usage

    def use(self, resources: ModelResources) -> None:
        """Attaches caches, in which probabilities are looked up and kept, and a limit."""
        self._resources = resources

    def answer(self, prompts: Sequence[JudgePrompt]) -> list[JudgeAnswer]:
        """Returns the answers, in order."""
        contexts = {prompt: self._context(prompt) for prompt in prompts}
        problems = {prompt: self._problem(prompt, ids) for prompt, ids in contexts.items()}
        keys = self._keys([prompt for prompt, problem in problems.items() if not problem])
        known = dict[bytes, str]()
        for cache in self._resources.caches:
            known |= cache.get(set(keys.values()) - known.keys())
        self._usage += Usage(cached=len(known))
        missing = {key: contexts[prompt] for prompt, key in keys.items() if key not in known}
        for batch in self._batches(missing):
            rows = [missing[key] for key in batch]
            tokens = sum(map(len, rows))
            if self._resources.limit is not None:
                self._resources.limit.start(len(rows))
                self._resources.limit.add_tokens(tokens)
            self._usage += Usage(calls=len(rows), prompt_tokens=tokens)
            fresh = dict(zip(batch, map(json.dumps, self._probabilities(rows)), strict=True))
            for cache in self._resources.caches:
                cache.put(fresh)
            known |= fresh
        answers = {prompt: self._answer(*json.loads(known[key])) for prompt, key in keys.items()}
        return [answers[prompt] if prompt in answers else JudgeAnswer(problem=problems[prompt]) for prompt in prompts]

    def _label_ids(self) -> tuple[list[int], list[int]]:
        """Returns the tokens before a label in a line of the model, and the one token of each label."""
        spelled = [self.chat.answer(label) for label in LABELS]
        lead = spelled[0][:-1]
        labels = [ids[-1] for ids in spelled if ids and ids[:-1] == lead]
        unknown: Any = self.chat.tokenizer.unk_token_id
        if len(set(labels)) != len(LABELS) or unknown in labels:
            letters = " and ".join(LABELS)
            raise InputError(
                f"Expected a tokenizer with a token for each of {letters}, got {spelled} from {self.name or 'it'}: "
                "use another model."
            )
        return lead, labels

    def _keys(self, prompts: Sequence[JudgePrompt]) -> dict[JudgePrompt, bytes]:
        identity = self.identity if prompts and self._resources.caches else {}
        return {prompt: reply_key(identity, {"system": prompt.system, "user": prompt.user}) for prompt in prompts}

    def _context(self, prompt: JudgePrompt) -> list[int]:
        return [*self.chat.question(prompt.system, f"{prompt.user}\n\n{_INSTRUCTION}"), *self._lead]

    def _count_controls(self, ids: Sequence[int]) -> int:
        return sum(i in self.chat.control_ids for i in ids)

    def _problem(self, prompt: JudgePrompt, ids: Sequence[int]) -> str:
        if prompt.items:
            return "would have to be a list, which label probabilities cannot give"
        if len(ids) > self._length:
            return f"was not asked for: its prompt has {len(ids)} tokens, the model reads {self._length}"
        if self._count_controls(ids) != self._framing:
            return "was not asked for: its prompt holds control tokens that are not the template's"
        return ""

    def _batches(self, contexts: Mapping[bytes, Sequence[int]]) -> Iterator[list[bytes]]:
        """Yields keys of contexts of about the same length, at most `batch_tokens` with their padding."""
        batch: list[bytes] = []
        for key in sorted(contexts, key=lambda key: len(contexts[key])):
            if batch and (len(batch) + 1) * len(contexts[key]) > self.batch_tokens:
                yield batch
                batch = []
            batch.append(key)
        if batch:
            yield batch

    def _probabilities(self, contexts: Sequence[Sequence[int]]) -> list[tuple[float, float]]:
        """Returns for each context the probability of A among the letters, and that of both letters together."""
        lengths = np.array([len(ids) for ids in contexts], np.int64)
        rows = np.arange(len(contexts))
        forward = FullForwardDecoder(self.model, len(contexts), int(lengths.max()))
        logits, _ = forward.step(rows, np.zeros_like(lengths), lengths, np.concatenate(contexts).astype(np.int64))
        logits = logits[:, : self.chat.vocabulary].float()
        letters = logits[:, self._labels]
        mass = (letters.logsumexp(-1) - logits.logsumexp(-1)).exp().cpu().tolist()
        return list(zip(letters.softmax(-1)[:, 0].cpu().tolist(), mass, strict=True))

    def _answer(self, chance: float, mass: float) -> JudgeAnswer:
        """Returns the answer of a model that gives A this chance, where A and B together have that probability."""
        if not (0 <= chance <= 1 and mass >= 0):
            return JudgeAnswer(problem="has probabilities that are not numbers")
        first = round(chance, 3)
        raw = f"A {first:.3f}, B {1 - first:.3f}"
        if mass < self.min_mass:
            why = f"wants to say something else: A and B together have less than {self.min_mass}"
            return JudgeAnswer(problem=why, raw=raw)
        if first == 0.5:
            return JudgeAnswer(problem="is undecided between A and B", raw=raw)
        label = LABELS[0] if first > 0.5 else LABELS[1]
        return JudgeAnswer(label, max(first, 1 - first), raw=raw)


def hf_judge(
    model: str, *, prompts: str | Path | None = None, batch_tokens: int | str = 16384, min_mass: float | str = 0.01
) -> LLMJudge:
    """Returns the judge of a local model (`hf:<folder or hub id>`)."""
    texts, tokenizer, loaded = JudgePrompts.load(prompts), load_tokenizer(f"hf:{model}"), load_model(f"hf:{model}")
    return LLMJudge(LabelProbBackend(loaded, tokenizer, model, batch_tokens=batch_tokens, min_mass=min_mass), texts)


@wraps(hf_judge)
def trained_judge(folder: str, **options: Any) -> LLMJudge:
    """Returns the judge of a model that a run has trained (`run:<run folder>`)."""
    return hf_judge(model_spec(f"run:{folder}").removeprefix("hf:"), **options)
