"""The critic: a small network on the language model's last hidden state."""

from __future__ import annotations

from hashlib import file_digest, sha256
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save, save_file
from torch import Tensor, nn

from persona_env.errors import InputError, shown_spec

__all__ = ["ValueHead"]

_FILE = "value_head.safetensors"


class ValueHead(nn.Module):
    """Estimates the return from the last hidden state.

    stable-baselines3 has one learning rate for all parameters. One that suits the language model is too small for a
    critic, which must first find the mean return. So the mean is not learned: `follow` shifts `level` to it after
    each rollout, and the learned part, which begins at 0, is multiplied by `scale`.

    With `gradient` the critic's error also trains the language model.

    >>> head = ValueHead(8)
    >>> head.follow(1.5)
    >>> head(torch.ones(3, 8)).tolist()
    [[1.5], [1.5], [1.5]]
    """

    level: Tensor

    def __init__(self, hidden: int, width: int = 64, scale: float = 8.0, gradient: bool = False):
        super().__init__()
        self.scale, self.gradient = scale, gradient
        self.inner, self.outer = nn.Linear(hidden, width), nn.Linear(width, 1)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)
        self.register_buffer("level", torch.zeros(()))

    def forward(self, hidden: Tensor) -> Tensor:
        """Returns values (A, 1) in float32 for hidden states (A, d)."""
        hidden = hidden if self.gradient else hidden.detach()
        return self.outer(torch.tanh(self.inner(hidden.float()))) * self.scale + self.level

    def follow(self, error: float) -> None:
        """Moves the level by a rollout's mean error, return minus estimate."""
        self.level += error

    def save(self, folder: Path) -> None:
        """Saves the head beside a model that is in the folder already, with the SHA-256 of both."""
        state = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        belongs = f"{self.scale} {_model_hash(folder)} {sha256(save(state)).hexdigest()}"
        save_file(state, folder / _FILE, {"belongs": belongs})  # one entry: safetensors writes several in any order

    def load(self, folder: Path) -> None:
        """Loads the head saved with the model in the folder; one of other weights, sizes or scale is left alone.

        A file that is not as it was saved is an InputError.
        """
        file = folder / _FILE
        if not file.is_file():
            return
        damaged = InputError(f"Expected a whole value head in {shown_spec(str(file))}, got a damaged file: delete it.")
        try:
            with safe_open(file, "pt") as saved:
                belongs = (saved.metadata() or {}).get("belongs", "").split()
                state = {name: saved.get_tensor(name) for name in saved.keys()}  # noqa: SIM118 - no mapping
        except (SafetensorError, OSError) as error:
            raise damaged from error
        if belongs[:2] != [str(self.scale), _model_hash(folder)]:
            return
        if belongs[2:] != [sha256(save(state)).hexdigest()]:
            raise damaged
        if all(state[name].shape == tensor.shape for name, tensor in self.state_dict().items()):
            self.load_state_dict(state)


def _model_hash(folder: Path) -> str:
    """The hash of the model's weights: a folder of the same name, and a model of the same sizes, are not the model."""
    digest = sha256()
    for path in sorted(folder.glob("*.safetensors")):
        if path.name != _FILE:
            with open(path, "rb") as file:
                digest.update(file_digest(file, "sha256").digest())
    return digest.hexdigest()
