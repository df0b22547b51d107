"""What the spec of a local model may be: `tiny`, `hf:<folder or hub id>`, `run:<run folder>`, or a bare path."""

from __future__ import annotations

import os
from pathlib import Path

from persona_env.errors import InputError, shown_spec

__all__ = ["model_spec", "path_spec"]

_MODEL = Path("model")  # where a run folder holds its model


def model_spec(spec: str) -> str:
    """Returns a spec with `run:<run folder>` and a bare path as the `hf:` that they mean; others as they are.

    >>> model_spec("hf:some/model")
    'hf:some/model'
    """
    spec = spec if spec == "tiny" else path_spec(spec)
    kind, _, rest = spec.partition(":")
    if kind != "run":
        return spec
    path, mark, options = rest.partition("?")
    if not _is_model(Path(os.path.expanduser(path)) / _MODEL):
        raise InputError(
            f"Expected a run folder with a model/ in it, got {shown_spec(path)!r}: name one whose training has ended."
        )
    return f"hf:{Path(path) / _MODEL}{mark}{options}"


def path_spec(spec: str) -> str:
    """Returns a bare path that exists, perhaps with options, as the `hf:` or `run:` that it means; others as they are.

    What can only be a path and is neither a model's folder nor a run's is an `InputError`.
    """
    path = spec.partition("?")[0]
    folder = Path(os.path.expanduser(path))
    if not path.startswith((".", "~", "/")) and (":" in path or not ("/" in path or os.path.isdir(folder))):
        return spec
    if _is_model(folder / _MODEL):
        return f"run:{spec}"
    if _is_model(folder):
        return f"hf:{spec}"
    found = "has neither a config.json nor a model/ in it" if os.path.lexists(folder) else "does not exist"
    raise InputError(
        f"Expected the folder of a model or of a run, got {shown_spec(path)!r}, which {found}: check the path"
        f"{f', or write hf:{shown_spec(path)} for a model of the hub' if path[:1].isalnum() else ''}."
    )


def _is_model(folder: Path) -> bool:
    return os.path.isfile(folder / "config.json")
