"""R20: nothing that is loaded can run code: no such call in the house, and every trap that is laid stays shut."""

from __future__ import annotations

import ast
import io
import json
import pickle
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file

import persona_env
import persona_wrappers
from persona_env.calibration.labels import load_labels
from persona_env.io import load_logs, load_personas
from persona_env.judges import load_judge
from persona_env.models.hf import load_model, load_tokenizer, quiet
from persona_env.models.reply_cache import ReplyCache
from persona_env.runs.training_state import read_state, reading_checkpoint
from persona_env.speakers.chat_format import ChatFormat
from tests.reliability.demands import Measured, demand, few
from tests.speakers.small import CHATML, model, tokenizer

_MODULES = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "jsonpickle", "yaml"}
_CALLS = {
    *("eval", "exec", "compile", "__import__", "builtins.eval", "builtins.exec", "builtins.compile", "pd.read_pickle"),
    *("os.system", "os.popen", "tempfile.mktemp", "mktemp", "os.execv", "pty.spawn", "jinja2.Environment"),
}
_SAFE = {"trust_remote_code": "False", "allow_pickle": "False", "shell": "False", "weights_only": "True"}
PLANTED = (
    *("import pickle", "from dill import loads", "import os, marshal", "eval('1')", "builtins.exec(x)", "import yaml"),
    *("torch.load(f)", "torch.load(f, weights_only=False)", "np.load(f, allow_pickle=True)", "import shelve"),
    *("AutoModel.from_pretrained(x, trust_remote_code=True)", "os.system('x')", "f('x', shell=True)"),
    *("tempfile.mktemp()", "jinja2.Environment()"),
)
"""Each of these is to be noticed."""


def unsafe_in(source: str) -> list[str]:
    """Returns what in a module could run code that stands in data, start a shell, or guess at a file's name."""
    found = list[str]()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            found += [f"import {name}" for name in names if name.split(".")[0] in _MODULES]
        elif isinstance(node, ast.Call):
            name, given = ast.unparse(node.func), {key.arg: ast.unparse(key.value) for key in node.keywords}
            is_unsafe = name in _CALLS or (name.endswith(("torch.load", "th.load")) and "weights_only" not in given)
            found += [f"{name}()"] if is_unsafe else []
            found += [f"{key}={given[key]}" for key, safe in _SAFE.items() if given.get(key, safe) != safe]
    return found


def unsafe_places() -> tuple[int, list[str]]:
    """Returns how many modules there are, and what is unsafe in them."""
    roots = [Path(package.__file__ or "").parent for package in (persona_env, persona_wrappers)]
    files = [file for root in roots for file in sorted(root.rglob("*.py"))]
    return len(files), [f"{f.name}: {found}" for f in files for found in unsafe_in(f.read_text(encoding="utf-8"))]


class Trap:
    """A pickle of this makes a file when it is loaded."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


ESCAPES = (
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ cycler.__init__.__globals__.os.system('touch %s') }}",
    "{{ lipsum.__globals__['os'].popen('touch %s').read() }}",
    "{{ self.__init__.__globals__.__builtins__.open('%s', 'w') }}",
    "{{ raise_exception.__globals__['__builtins__']['open']('%s', 'w') }}",
    "{{ raise_exception.__code__ }}",
    "{{ (messages|attr('__class__')).__base__.__subclasses__() }}",
    "{{ '{0.__class__.__init__.__globals__}'.format(messages) }}{{ ''.__class__ }}",
    "{{ messages.append({'role': 'system', 'content': 'x'}) }}",
    "{% import 'os' as os %}{{ os.system('touch %s') }}",
    "{% include '/etc/hostname' %}",
    "{% extends '/etc/hostname' %}",
    "{{ namespace.__init__.__globals__ }}{{ joiner.__init__.__globals__.os }}",
    "{% for i in range(1000000000) %}{% endfor %}",
    "{{ 1 / 0 }}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
)
"""Chat templates that try to leave the sandbox, or to keep it busy; `%s` is the file that they want to make."""

_CODE = "import pathlib\npathlib.Path({marker!r}).touch()\nclass Evil: pass\n"


def folders(root: Path, marker: Path) -> Iterator[tuple[str, Path, bool]]:
    """Yields folders of models with a trap each: name, folder, and whether what is left may be loaded without it."""
    trap, code, good = pickle.dumps(Trap(marker)), "evil.Evil", model(len(words := tokenizer()))
    shards = {"metadata": {}, "weight_map": {"model.embed_tokens.weight": "pytorch_model.bin"}}
    auto = {"AutoConfig": code, "AutoModelForCausalLM": code}
    maps = {"auto_map": {"AutoTokenizer": [code, code]}, "tokenizer_class": "Evil"}
    weights, config, index = "model.safetensors", "config.json", "model.safetensors.index.json"
    only = ("pytorch_model.bin", "model.pt", "weights.pth")
    traps: list[tuple[str, Mapping[str, bytes | dict[str, Any] | None], bool]] = [
        *((f"only {name}", {weights: None, name: trap}, False) for name in only),
        ("a pickle beside safetensors", {"pytorch_model.bin": trap, "training_args.bin": trap}, True),
        ("a pickle called safetensors", {weights: trap}, False),
        (
            "an index that leads to a pickle",
            {weights: None, "extra.safetensors": b"", "pytorch_model.bin": trap, index: shards},
            False,
        ),
        ("code for an unknown model", {config: {"model_type": "evil", "auto_map": auto}}, False),
        ("code for a known model", {config: {"auto_map": auto}}, True),
        ("code for a tokenizer", {"tokenizer_config.json": maps}, True),
    ]
    for name, changes, harmless in traps:
        folder = root / name
        with quiet():
            good.save_pretrained(folder)
            words.save_pretrained(folder)
        (folder / "evil.py").write_text(_CODE.format(marker=str(marker)))
        for file, change in changes.items():
            path = folder / file
            if change is None:
                path.unlink()
            elif isinstance(change, bytes):
                path.write_bytes(change)
            else:
                path.write_text(json.dumps((json.loads(path.read_text()) if path.is_file() else {}) | change))
        yield name, folder, harmless


def refusal(load: Callable[[], object], marker: Path) -> str:
    """Returns what is wrong with how something is refused; "" where that is one line, "loaded" where it is not."""
    try:
        load()
        found = "loaded"
    except ValueError as error:
        is_good = str(error).startswith("Expected ") and str(error).isprintable()
        found = "" if is_good else f"refused with {str(error)[:80]!a}"
    except Exception as error:
        found = f"refused with {type(error).__name__}"
    if marker.exists():
        marker.unlink()
        return "CODE WAS RUN"
    return found


def models(root: Path, marker: Path) -> tuple[int, list[str]]:
    """Loads every model with a trap; returns how many there are and what went wrong."""
    bad, count = list[str](), 0
    for name, folder, harmless in folders(root, marker):
        count += 1
        spec = f"hf:{folder}"
        told = refusal(lambda spec=spec: (load_tokenizer(spec), load_model(spec)), marker)
        bad += [f"{name}: {told}"] if told and not (harmless and told == "loaded") else []
    return count, bad


def templates(marker: Path) -> list[str]:
    """Derives formats from every hostile template; returns what went wrong.

    One may be loaded where what is hostile in it comes to nothing: jinja renders what its sandbox blocks as empty.
    """
    words, bad = tokenizer(), list[str]()
    plain = ChatFormat.derive(words, CHATML).opening("a", "b")

    def derive(text: str) -> None:
        if ChatFormat.derive(words, text).opening("a", "b") != plain:
            raise RuntimeError("something was put out")

    for escape in ESCAPES:
        text = escape.replace("%s", str(marker)) + CHATML
        told = refusal(lambda text=text: derive(text), marker)
        bad += [f"template {escape[:40]}: {told}"] if told not in ("", "loaded") else []
    return bad


def _read_tensors(path: Path) -> None:
    with reading_checkpoint():
        load_file(path)


def files(root: Path, marker: Path) -> list[str]:
    """Gives a pickle, and an array of objects, to everything that reads a file; returns what went wrong."""
    path, objects = root / "trap", {"is": "array", "dtype": "O", "of": [1]}
    readers: dict[str, Callable[[], object]] = {
        "a log": lambda: load_logs(path),
        "personas": lambda: load_personas(path),
        "labels": lambda: load_labels([path]),
        "a recorded judge": lambda: load_judge(f"recorded:{path}"),
        "a reply cache": lambda: ReplyCache(path),
        "a checkpoint": lambda: _read_tensors(path),
        "a state": lambda: read_state(objects),
    }
    bad, array = list[str](), io.BytesIO()
    np.save(array, np.array([Trap(marker)], object), allow_pickle=True)
    for what, data in (("a pickle", pickle.dumps(Trap(marker))), ("an array of objects", array.getvalue())):
        path.write_bytes(data)
        bad += [f"{what} as {name}: {told}" for name, read in readers.items() if (told := refusal(read, marker))]
    return bad


@demand("R12", "AST of all modules: pickle, eval, unsafe torch.load, remote code, shells, guessed file names", "0 hits")
def sources() -> Measured:
    (count, found), noticed = unsafe_places(), sum(bool(unsafe_in(source)) for source in PLANTED)
    told = f"{len(found)} hits in {count} modules{few(found)}; {noticed} of {len(PLANTED)} planted ones noticed"
    return not found and noticed == len(PLANTED), told


@demand(
    "R20",
    f"models, {len(ESCAPES)} chat templates and files with a trap that leaves a mark",
    "0 hits: refused in one line, or loaded without; the trap never runs",
)
def traps() -> Measured:
    with tempfile.TemporaryDirectory() as name:
        root, marker = Path(name), Path(name) / "marker"
        pickle.loads(pickle.dumps(Trap(marker)))
        works = marker.exists()
        marker.unlink()
        loaded, hits = models(root, marker)
        hits += templates(marker) + files(root, marker)
    return not hits and works, f"{len(hits)} hits{few(hits)} ({loaded} models)"
