"""Models are saved whole: what low-rank adapters have learned is added to the weights that they stand on."""

from __future__ import annotations

import copy
import os
import sys
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from persona_env.errors import InputError

__all__ = ["has_adapters", "merged_weight", "save_merged"]


def has_adapters(model: Any) -> bool:
    """Returns whether some layers of the model carry adapters of `peft`."""
    if "peft" not in sys.modules:  # who has adapters has imported it
        return False
    from peft.tuners.tuners_utils import BaseTunerLayer

    return any(isinstance(module, BaseTunerLayer) for module in model.modules())


def save_merged(model: PreTrainedModel, folder: str | os.PathLike[str]) -> None:
    """Saves an ordinary Hugging Face model: weights (safetensors) with the adapters in them, and the config.

    The model itself is left as it is. The sums are formed layer by layer and kept on the CPU, in the
    precision of the base; 4-bit weights are unpacked.

    Raises:
        ValueError: If a layer's adapter cannot be added to a weight.
    """
    if not has_adapters(model) and not getattr(model, "quantization_method", None):
        model.save_pretrained(folder)
        return
    shell = _shell(model)
    weights = {name: merged_weight(model, name) for name in shell.state_dict()}
    shell.save_pretrained(folder, state_dict=weights)


def _shell(model: PreTrainedModel) -> PreTrainedModel:
    """A plain model of the same kind that holds no memory: it knows the names, and how they are saved."""
    config: Any = copy.deepcopy(model.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with torch.device("meta"):
        shell: Any = type(model)(config)
    shell.to(model.dtype)
    shell.generation_config = model.generation_config
    return shell


@torch.no_grad()
def merged_weight(model: Any, name: str) -> Tensor:
    """Returns a weight of the plain model on the CPU, with what its adapters add to it."""
    owner, _, leaf = name.rpartition(".")
    layer, added = model.get_submodule(owner), list[Tensor]()
    while hasattr(layer, "base_layer"):  # several stand on one another where a layer has several weights
        if getattr(layer, "parameter_name", "weight") == leaf:
            added += _added(layer, name)
        layer = layer.base_layer
    weight = _unpacked(layer, leaf)
    if not added:
        return weight.detach().cpu()
    total = weight.float()
    for delta in added:
        total = total + delta.float()
    return total.to(weight.dtype).cpu()


def _added(layer: Any, name: str) -> list[Tensor]:
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
