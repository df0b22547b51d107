"""The house has floors: a module imports only from its own room or from a floor below."""

import ast
import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import persona_env
import persona_wrappers

FLOORS = (
    ("persona", "conversation", "scenario", "roles", "spaces", "settings", "registry", "errors"),
    ("io", "models"),
    ("speakers", "judges", "world"),
    ("metrics",),
    ("envs", "dialogue_v0"),
    ("rl", "sb3"),
    ("algorithms", "probes", "hosts"),
    ("runs", "evaluation", "calibration", "papers"),
    ("report",),
    ("cli",),
    ("__main__",),
)
BESIDE = ("testing",)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
HEAVY = ("torch", "transformers", "stable_baselines3")
CORE = Path(persona_env.__file__).parent
WRAPPERS = Path(persona_wrappers.__file__).parent


def imported(file: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    names = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return names | {a.name for n in nodes if isinstance(n, ast.Import) for a in n.names}


def room(file: Path) -> str:
    return file.relative_to(CORE).parts[0].removesuffix(".py")


def may_import(here: str, other: str) -> bool:
    return FLOOR_OF[other] <= FLOOR_OF[here]


@pytest.mark.parametrize("file", sorted(CORE.rglob("*.py")), ids=lambda f: str(f.relative_to(CORE)))
def test_a_module_imports_only_from_below(file: Path):
    here = room(file)
    for name in imported(file):
        package, _, rest = name.partition(".")
        assert package != "persona_wrappers", f"{file} imports a wrapper: name it as an entry-point string"
        other = rest.split(".")[0]
        if package == "persona_env" and other and here not in (*BESIDE, "__init__"):
            assert may_import(here, other), f"{here} imports {name} from its own floor or above"


def test_a_wrapper_imports_only_the_lower_floors():
    rooms = {n.split(".")[1] for f in WRAPPERS.rglob("*.py") for n in imported(f) if n.startswith("persona_env.")}
    assert {FLOOR_OF[name] for name in rooms} <= {0, 1, 2, 3, 4}


@pytest.mark.parametrize("file", sorted((CORE / "rl").glob("*.py")), ids=lambda f: f.name)
def test_rl_needs_no_rl_library(file: Path):
    found = {name for name in imported(file) if name.startswith(("stable_baselines3", "sb3", "persona_env.sb3"))}
    assert not found


def test_importing_the_packages_loads_nothing_heavy():
    probe = f"import sys, persona_env, persona_wrappers; print(set({HEAVY}) & set(sys.modules))"
    path = os.pathsep.join([str(CORE.parent), str(WRAPPERS.parent)])
    run = [sys.executable, "-c", probe]
    out = subprocess.run(run, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": path})
    assert out.stdout.strip() == "set()"


def modules() -> list[str]:
    found = []
    for package in (persona_env, persona_wrappers):
        found += [m.name for m in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    return sorted(name for name in found if not name.endswith("__main__"))


@pytest.mark.parametrize("name", modules())
def test_each_public_name_imports_and_is_documented(name: str):
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} says nothing of itself"
    for public in getattr(module, "__all__", ()):
        found = getattr(module, public)
        if callable(found) and getattr(found, "__module__", "").startswith("persona_"):
            assert found.__doc__, f"{name}.{public} has no docstring"
