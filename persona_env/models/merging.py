"""Models with low-rank adapters (`peft`): recognised, and saved whole, the adapters added to the weights."""

from __future__ import annotations

import copy
import os
import sys
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from persona_env.errors import InputError

__all__ = ["base_model", "has_adapters", "is_peft_model", "is_quantized", "save_merged"]


def has_adapters(model: Any) -> bool:
    """Returns whether some layers of the model carry adapters of `peft`."""
    if "peft" not in sys.modules:  # whoever made adapters has imported it
        return False
    from peft.tuners.tuners_utils import BaseTunerLayer

    return any(isinstance(module, BaseTunerLayer) for module in model.modules())


def is_peft_model(model: Any) -> bool:
    """Returns whether the model is a `peft.PeftModel`, which stands around a transformers model."""
    if "peft" not in sys.modules:
        return False
    from peft import PeftModel

    return isinstance(model, PeftModel)


def base_model(model: Any) -> Any:
    """Returns the transformers model itself; adapters, if any, are in its layers."""
    return model.get_base_model() if is_peft_model(model) else model


def is_quantized(model: Any) -> bool:
    """Returns whether transformers has packed the model's weights (4 or 8 bits)."""
    return vars(model).get("quantization_method") is not None


def save_merged(model: PreTrainedModel, folder: str | os.PathLike[str]) -> None:
    """Saves an ordinary Hugging Face model: weights (safetensors) with the adapters in them, and the config.

    The model itself is left as it is; 4-bit weights are unpacked. An adapter that cannot be added is an `InputError`.
    """
    if not has_adapters(model) and not is_quantized(model):
        model.save_pretrained(folder)
        return
    config: Any = copy.deepcopy(model.config)
    vars(config).pop("quantization_config", None)
    with torch.device("meta"):  # a plain model without memory: it has the names of the weights, and saves them
        shell: Any = type(model)(config)
    shell.to(model.dtype)
    shell.generation_config = model.generation_config
    weights = {name: _merged_weight(model, name) for name in shell.state_dict()}
    shell.save_pretrained(folder, state_dict=weights)


@torch.no_grad()
def _merged_weight(model: Any, name: str) -> Tensor:
    """Returns a weight of the plain model on the CPU, with its adapters' products added to it."""
    owner, _, leaf = name.rpartition(".")
    layer, added = model.get_submodule(owner), list[Tensor]()
    while "base_layer" in dict(layer.named_children()):  # peft wraps a layer once for each adapted weight
        if vars(layer).get("parameter_name", "weight") == leaf:
            added += _products(layer, name)
        layer = layer.base_layer
    weight = _unpacked(layer, leaf)
    if not added:
        return weight.detach().cpu()
    return sum((delta.float() for delta in added), weight.float()).to(weight.dtype).cpu()


def _products(layer: Any, name: str) -> list[Tensor]:
    """What the active adapters of one wrapped layer add to its weight."""
    from peft.tuners.lora import LoraLayer

    if layer.merged:
        return []
    kind: Any = LoraLayer
    if not isinstance(layer, kind) or any(layer.use_dora.values()) or not hasattr(layer, "get_delta_weight"):
        raise InputError(
            f"Expected plain LoRA adapters, got {type(layer).__name__} at {name}: "
            "merge them with peft (merge_and_unload), or save the adapter alone."
        )
    present = {*layer.lora_A, *layer.lora_embedding_A}
    return [layer.get_delta_weight(adapter) for adapter in layer.active_adapters if adapter in present]


def _unpacked(layer: Any, leaf: str) -> Tensor:
    weight = getattr(layer, leaf)
    if type(weight).__name__ not in ("Params4bit", "Int8Params"):
        return weight
    from peft.utils.integrations import dequantize_module_weight

    return dequantize_module_weight(layer)
