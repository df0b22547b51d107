"""Loads models and tokenizers by name: weights from safetensors only, never code, and errors of one line."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import torch
from huggingface_hub import snapshot_download
from huggingface_hub import utils as hub
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging
from transformers.utils.peft_utils import find_adapter_config_file

from persona_env.errors import InputError, printable, shown_spec
from persona_env.models.model_spec import model_spec

__all__ = ["WeightsDigest", "load_model", "load_tokenizer", "quiet", "vocabulary_digest"]

_LONGEST, _LONGEST_ID = 4096, 200
_NOT_OF_THE_MODEL = ("_name_or_path", "transformers_version")  # the same model elsewhere is the same
_HUB_ID = re.compile(r"\w[\w.-]*(/[\w.-]+)?")
_DTYPES = {"auto": "auto", "float32": torch.float32, "bfloat16": torch.bfloat16}

_Loaded = TypeVar("_Loaded")


def load_tokenizer(spec: str) -> PreTrainedTokenizerBase:
    """Loads the tokenizer of a `model_spec`; an `InputError` says in one line why it cannot be."""
    return _load(spec, _source(spec), lambda path: AutoTokenizer.from_pretrained(path, trust_remote_code=False))


def load_model(spec: str, *, dtype: str = "auto", device: str = "auto", load_in_4bit: bool = False) -> PreTrainedModel:
    """Loads the model of `tiny`, `hf:<folder or hub id>`, `run:<run folder>` or a bare path, in evaluation mode.

    Weights come from safetensors only, and code never from the folder or the hub. What the hub's cache holds whole
    is loaded from there. An `InputError` says in one line why a model cannot be loaded.

    Args:
        spec: The model.
        dtype: `float32`, `bfloat16`, or `auto`: that of the saved weights on a GPU, float32 on the CPU.
        device: A device of torch, or `auto`: the GPU if there is one (for `tiny` the CPU).
        load_in_4bit: Whether linear layers are packed into 4 bits (NF4, with `bitsandbytes`, on a GPU): they cannot be
            trained themselves, only adapters on them.
    """
    source, device = _source(spec), _device(spec, device)
    options = _precision(dtype, device, load_in_4bit)
    _refuse_pickles(spec, Path(source))

    def load(path: str) -> Any:
        if find_adapter_config_file(path):  # transformers would load its base, wherever that is
            raise _is_adapter(spec)
        return AutoModelForCausalLM.from_pretrained(
            path, use_safetensors=True, trust_remote_code=False, output_loading_info=True, **options
        )

    model, info = _load(spec, source, load)
    _check_weights(spec, model, info["missing_keys"])
    return (model if load_in_4bit else model.to(device)).eval()


class WeightsDigest:
    """A digest of a model's config and weights; all are read when it is asked for and they have changed."""

    def __init__(self, model: PreTrainedModel):
        self._model, self._version, self._digest = model, -1, ""

    def __str__(self) -> str:
        version = sum(parameter._version for parameter in self._model.parameters())
        if self._version != version:
            config = self._model.config.to_dict()
            told = {name: value for name, value in config.items() if name not in _NOT_OF_THE_MODEL}
            found = sha256(json.dumps(told, sort_keys=True, default=str).encode("ascii"))
            for name, weight in sorted(self._model.state_dict().items()):
                found.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
                found.update(weight.detach().contiguous().cpu().flatten().view(torch.uint8).numpy().data)
            self._version, self._digest = version, found.hexdigest()
        return self._digest


def vocabulary_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """Returns a digest of a tokenizer's tokens and their ids."""
    return sha256(json.dumps(sorted(tokenizer.get_vocab().items())).encode("ascii")).hexdigest()


def _load(spec: str, source: str, load: Callable[[str], _Loaded]) -> _Loaded:
    """Calls `load` with the local folder; where a hub id is not in the hub's cache, with the id, which asks the hub."""
    is_folder = Path(source).is_dir()
    with quiet():
        try:
            with contextlib.suppress(OSError):
                return load(source if is_folder else snapshot_download(source, local_files_only=True))
            return load(source)
        except InputError:
            raise
        except Exception as error:  # tokenizers raises nothing more exact
            why = printable(" ".join(str(error).split()))[:160] or type(error).__name__
            raise InputError(
                f"Expected a whole model in {shown_spec(spec)}, got an error ({why}): check its files."
                if is_folder
                else f"Expected a model's folder or hub id, got {shown_spec(spec)}, which is no folder here, and the "
                "hub cannot be reached or does not give it: check the name."
            ) from error


def _device(spec: str, device: str) -> str:
    if device == "auto":
        return "cuda" if torch.cuda.is_available() and spec != "tiny" else "cpu"
    try:
        kind = torch.device(device).type
    except RuntimeError:
        raise InputError(f"Expected a device of torch, got {device!r}: give auto, cpu or cuda.") from None
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError(f"Expected a device that is there, got {device!r} without a GPU: give auto or cpu.")
    return device


def _precision(dtype: str, device: str, load_in_4bit: bool) -> dict[str, Any]:
    """The arguments of `from_pretrained` that set the precision of the weights."""
    if dtype not in _DTYPES:
        raise InputError(f"Expected dtype among {', '.join(_DTYPES)}, got {dtype!r}: choose one of these.")
    if not load_in_4bit:
        return {"dtype": torch.float32 if dtype == "auto" and device == "cpu" else _DTYPES[dtype]}
    if torch.device(device).type != "cuda":
        raise InputError(f"Expected a CUDA GPU for 4-bit loading, got {device}: leave load_in_4bit out.")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise InputError("Expected bitsandbytes for 4-bit loading, got none: pip install 'persona-env[quantized]'.")
    inner = torch.float32 if dtype == "float32" else torch.bfloat16
    packed = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=inner
    )
    return {"dtype": inner, "quantization_config": packed, "device_map": {"": device}}


def _check_weights(spec: str, model: PreTrainedModel, missing: Iterable[str]) -> None:
    if missing:
        raise InputError(
            f"Expected all weights in {shown_spec(spec)}, got none for {min(missing)}: save the whole model."
        )
    for name, weight in model.named_parameters():
        if not torch.isfinite(weight).all():
            raise InputError(
                f"Expected finite weights in {shown_spec(spec)}, got nan or infinity in {name}: train it anew."
            )


def _is_adapter(spec: str) -> InputError:
    return InputError(
        f"Expected a whole model, got an adapter in {shown_spec(spec)}: merge it into its base (peft's "
        "AutoPeftModelForCausalLM, merge_and_unload) and save that."
    )


def _source(spec: str) -> str:
    """The folder or hub id that a spec names."""
    if spec == "tiny":
        return str(files("persona_env") / "world" / "model")
    kind, _, rest = model_spec(spec).partition(":")
    if kind != "hf" or not rest or not rest.isprintable() or len(rest) > _LONGEST:
        what = "a model tiny, hf:<folder or hub id>, run:<run folder> or a path"
        raise InputError(f"Expected {what}, got '{shown_spec(spec)}': use one of these.")
    folder = Path(os.path.expanduser(rest))
    if os.path.exists(folder):
        if (folder / "adapter_config.json").is_file():
            raise _is_adapter(spec)
        if not (folder / "config.json").is_file():
            raise InputError(
                f"Expected a model's folder, got {shown_spec(rest)} without a config.json: "
                "name the folder that holds the model."
            )
        return str(folder)
    if len(rest) > _LONGEST_ID or not _HUB_ID.fullmatch(rest):
        raise InputError(f"Expected a model's folder, got {shown_spec(rest)}, which does not exist: check the path.")
    return rest


def _refuse_pickles(spec: str, folder: Path) -> None:
    if folder.is_dir() and not list(folder.glob("*.safetensors")):
        pickled = any(file.suffix in (".bin", ".pt", ".pth") for file in folder.iterdir())
        raise InputError(
            f"Expected weights as safetensors in {shown_spec(spec)}, got {'pickled' if pickled else 'no'} ones: "
            "save the model with save_pretrained."
        )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences progress bars and log messages while something is loaded or saved."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    hub_bars = not hub.are_progress_bars_disabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    hub.disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
        if hub_bars:
            hub.enable_progress_bars()
