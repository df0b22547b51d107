"""The model to be trained, with its tokenizer and its chat format, from a spec or from loaded parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from os.path import expanduser
from pathlib import Path
from typing import Any

import torch
from gymnasium import spaces
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from persona_env.errors import InputError
from persona_env.models.merging import base_model, is_peft_model, is_quantized
from persona_env.models.model_spec import model_spec
from persona_env.rl.lora import LoraOptions, add_adapters
from persona_env.spaces import TokenContext
from persona_env.speakers.chat_format import ChatFormat
from persona_env.speakers.decoding.decoder import usable_length
from persona_env.speakers.local import LanguageModel

__all__ = ["TrainableModel", "check_spaces", "load_trainable"]


@dataclass(frozen=True, eq=False)
class TrainableModel:
    """A causal language model to be trained, perhaps with adapters around it, and what it is saved and used with.

    Without tokenizer and chat format it is a model of bare token ids; `folder` is where it was loaded from, if known.
    """

    model: Any
    tokenizer: PreTrainedTokenizerBase | None = None
    chat: ChatFormat | None = None
    folder: Path | None = None


def load_trainable(
    model: Any,
    tokenizer: PreTrainedTokenizerBase | None = None,
    chat_template: str | None = None,
    template_kwargs: Mapping[str, Any] | None = None,
    *,
    lora: LoraOptions | None = None,
) -> TrainableModel:
    """Loads or wraps a model for training; with `lora` adapters are added, and only they are trained.

    The model is a spec (see `model_spec`), a `LanguageModel`, a transformers model (trained in place)
    or a transformers config (random weights). The tokenizer is for the latter two; without one the tokens are bare
    ids. A `chat_template` is used instead of the tokenizer's own, and `template_kwargs` are passed on to it.

    Raises:
        InputError: If it cannot be loaded, or is no causal language model.
    """
    if isinstance(model, str):
        speaker = LanguageModel.load(model, chat_template=chat_template, template_kwargs=template_kwargs)
        folder = None if model == "tiny" else Path(expanduser(model_spec(model).removeprefix("hf:")))
        found = TrainableModel(speaker.model, speaker.tokenizer, speaker.chat, folder)
    elif isinstance(model, LanguageModel):
        found = TrainableModel(model.model, model.tokenizer, model.chat)
    else:
        if isinstance(model, PreTrainedConfig):
            model = AutoModelForCausalLM.from_config(model)
        chat = None
        if tokenizer is not None and (chat_template or tokenizer.chat_template):
            chat = ChatFormat.derive(tokenizer, chat_template, template_kwargs)
        found = TrainableModel(model, tokenizer, chat)
    base = base_model(found.model)
    if not isinstance(base, PreTrainedModel) or base.get_output_embeddings() is None:
        raise InputError(
            f"Expected a causal language model, got {type(found.model).__name__}: give a spec such as "
            "'tiny', or a transformers model with an output layer."
        )
    if lora is not None:
        return replace(found, model=add_adapters(found.model, lora))
    _make_trainable(found.model)
    return found


def _make_trainable(model: Any) -> None:
    trainable = any(parameter.requires_grad for parameter in model.parameters())
    if is_peft_model(model):
        if not trainable:
            raise InputError("Expected adapters that are trained, got frozen ones: load them with is_trainable=True.")
        return
    if is_quantized(model):
        raise InputError("Expected full weights to train, got 4-bit ones: train adapters on them (lora=).")
    if next(model.parameters()).dtype in (torch.float16, torch.bfloat16):
        model.float()  # an optimiser's small steps are lost in 16 bits
    if not trainable:
        model.requires_grad_(True)


def check_spaces(trainable: TrainableModel, observations: spaces.Space[Any], actions: spaces.Space[Any]) -> int:
    """Returns the number of token ids that the model and the environment share.

    Raises:
        InputError: If they have different ones, or contexts may be longer than what the model can read.
    """
    if not isinstance(actions, spaces.Discrete) or not isinstance(observations, TokenContext):
        raise InputError(
            f"Expected Discrete actions (token ids) and TokenContext observations, got {actions} and {observations}: "
            "use a token environment."
        )
    count, pad_id, chat = int(actions.n), observations.pad_id, trainable.chat
    logits = trainable.model.get_output_embeddings().weight.shape[0]
    known, known_pad = (logits, pad_id) if chat is None else (chat.vocabulary, chat.pad_id)
    if known != count or known_pad != pad_id or logits < count:
        raise InputError(
            f"Expected a model with the environment's tokens, got {known} ids (padding {known_pad}) "
            f"for the environment's {count} (padding {pad_id}): "
            "give the environment simulator= the model that is trained."
        )
    most = usable_length(trainable.model)
    if observations.context > most:
        raise InputError(
            f"Expected a context that {type(trainable.model).__name__} can read, at most {most} tokens, got "
            f"{observations.context}: give the environment fewer or shorter lines, or context={most}."
        )
    return count
