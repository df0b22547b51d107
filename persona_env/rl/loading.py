"""The learner's parts: the language model, its tokenizer and its chat format, from whatever names them."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from gymnasium import spaces
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedTokenizerBase

from persona_env.errors import InputError
from persona_env.rl.lora import LoraOptions, add_adapters
from persona_env.speakers.chat_format import ChatFormat
from persona_env.speakers.decoding.decoder import usable_length

__all__ = [
    "TrainableModel",
    "check_context",
    "check_vocabulary",
    "keep_initial_weights",
    "kept_beginning",
    "load_learner",
]

_BEGINNING = "_persona_env_beginning"


@dataclass(frozen=True, eq=False)
class TrainableModel:
    """What is trained, and what it needs to be saved and used.

    Attributes:
        model: A causal language model of transformers, perhaps with adapters around it.
        tokenizer: Its tokenizer; None for a model of bare token ids.
        chat: How dialogues are put in tokens; None for a model of bare token ids.
        folder: Where it was loaded from, if from a folder.
    """

    model: Any
    tokenizer: PreTrainedTokenizerBase | None = None
    chat: ChatFormat | None = None
    folder: Path | None = None


def load_learner(
    model: Any,
    tokenizer: PreTrainedTokenizerBase | None = None,
    chat_template: str | None = None,
    template_kwargs: Mapping[str, Any] | None = None,
    *,
    lora: LoraOptions | None = None,
) -> TrainableModel:
    """Returns the learner.

    Args:
        model: A spec (`tiny`, `hf:<folder or hub id>`), a `LanguageModel`, a transformers model
            (trained in place), or a transformers config (a new model with random weights).
        tokenizer: For a transformers model or config; without one the tokens are bare ids.
        chat_template: Used instead of the tokenizer's own.
        template_kwargs: Passed on to the template.
        lora: Adapters to be added; they alone are trained then.

    Raises:
        ValueError: If it cannot be loaded, or is no causal language model.
    """
    from persona_env.speakers.local import LanguageModel

    if isinstance(model, str):
        speaker = LanguageModel.load(model, chat_template=chat_template, template_kwargs=template_kwargs)
        folder = Path(model.removeprefix("hf:"))
        found = TrainableModel(speaker.model, speaker.tokenizer, speaker.chat, folder if folder.is_dir() else None)
    elif isinstance(model, LanguageModel):
        found = TrainableModel(model.model, model.tokenizer, model.chat)
    else:
        if isinstance(model, PreTrainedConfig):
            model = AutoModelForCausalLM.from_config(model)
        chat = None
        if chat_template or getattr(tokenizer, "chat_template", None):
            assert tokenizer is not None
            chat = ChatFormat.derive(tokenizer, chat_template, template_kwargs)
        found = TrainableModel(model, tokenizer, chat)
    _check_output_layer(found.model)
    if lora is not None:
        return replace(found, model=add_adapters(found.model, lora))
    _make_trainable(found.model)
    return found


def _check_output_layer(model: Any) -> None:
    if getattr(model, "get_output_embeddings", lambda: None)() is None:
        raise InputError(
            f"Expected a causal language model, got {type(model).__name__}: give a spec such as "
            "'tiny', or a transformers model with an output layer."
        )


def _make_trainable(model: Any) -> None:
    trainable = any(parameter.requires_grad for parameter in model.parameters())
    if hasattr(model, "get_base_model"):
        if not trainable:
            raise InputError("Expected adapters that are trained, got frozen ones: load them with is_trainable=True.")
        return
    if getattr(model, "quantization_method", None):
        raise InputError("Expected full weights to train, got 4-bit ones: train adapters on them (lora=).")
    if next(model.parameters()).dtype in (torch.float16, torch.bfloat16):
        model.float()  # 16-bit weights lose the small steps of an optimiser
    if not trainable:
        model.requires_grad_(True)


def check_vocabulary(learner: TrainableModel, observations: spaces.Space[Any], actions: spaces.Space[Any]) -> int:
    """Returns the number of token ids on which the learner and the environment agree.

    Raises:
        ValueError: If they do not agree.
    """
    if not isinstance(actions, spaces.Discrete):
        raise InputError(f"Expected Discrete actions (token ids), got {actions}: use a token environment.")
    pad_id, count = getattr(observations, "pad_id", None), int(actions.n)
    if pad_id is None:
        raise InputError(f"Expected TokenContext observations, got {observations}: use a token environment.")
    logits = learner.model.get_output_embeddings().weight.shape[0]
    known = logits if learner.chat is None else learner.chat.vocabulary
    same = known == count and (learner.chat is None or learner.chat.pad_id == pad_id)
    if not same or logits < count:
        raise InputError(
            f"Expected a model with the environment's tokens, got {known} ids (padding "
            f"{getattr(learner.chat, 'pad_id', pad_id)}) for the environment's {count} (padding {pad_id}): "
            "give the environment simulator= the model that is trained."
        )
    return count


def check_context(learner: TrainableModel, observations: spaces.Space[Any]) -> None:
    """Raises ValueError if the environment's contexts may be longer than what the model can read."""
    shape, most = observations.shape, usable_length(learner.model)
    assert shape is not None
    if shape[0] > most:
        raise InputError(
            f"Expected a context that {type(learner.model).__name__} can read, at most {most} tokens, got {shape[0]}: "
            f"give the environment fewer or shorter lines, or context={most}."
        )


class _Beginning:
    """Holds weakly, beside a model, a copy of what that was like at first; pickled, it turns into the copy."""

    def __init__(self, model: torch.nn.Module):
        self._model = weakref.ref(model)

    def __reduce__(self) -> tuple[Any, ...]:
        return _itself, (self._model(),)

    def __deepcopy__(self, memo: dict[int, Any]) -> None:
        return None


def _itself(model: torch.nn.Module | None) -> torch.nn.Module | None:
    return model


def keep_initial_weights(model: torch.nn.Module, beginning: torch.nn.Module) -> None:
    """Lets pickles of a model in training bring along what it was like at first.

    stable-baselines3 pickles a model that is given live as it is at the time, and gives it back as if it
    were untrained.
    """
    vars(model)[_BEGINNING] = _Beginning(beginning)  # past torch, which would take it for a part


def kept_beginning(model: torch.nn.Module) -> Any:
    """Returns what a model that comes from such a pickle was like at first; None for any other model."""
    found = vars(model).get(_BEGINNING)
    return found if isinstance(found, torch.nn.Module) else None
