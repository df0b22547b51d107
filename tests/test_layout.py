"""The house has floors: a module imports only from its own room or from a floor below."""

import ast
import importlib
import pkgutil
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
CORE = Path(persona_env.__file__).parent
WRAPPERS = Path(persona_wrappers.__file__).parent
PACKAGES = (CORE, WRAPPERS)


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


def module_name(file: Path) -> str:
    parts = [PACKAGES[0].name, *file.relative_to(CORE).with_suffix("").parts] if file.is_relative_to(CORE) else []
    parts = parts or [PACKAGES[1].name, *file.relative_to(WRAPPERS).with_suffix("").parts]
    return ".".join(parts).removesuffix(".__init__")


def import_graph() -> dict[str, set[str]]:
    """Returns which module imports which, in functions and for type checkers too."""
    files = {module_name(file): file for package in PACKAGES for file in package.rglob("*.py")}
    graph: dict[str, set[str]] = {name: set() for name in files}
    for name, file in files.items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                targets = {f"{node.module}.{alias.name}" for alias in node.names}
                graph[name] |= {target if target in files else node.module for target in targets}
    return {name: {other for other in found if other in files and other != name} for name, found in graph.items()}


def test_no_modules_import_each_other_in_a_circle():
    graph = import_graph()
    while leaves := [name for name, found in graph.items() if not found & graph.keys()]:
        for name in leaves:
            del graph[name]
    on_a_circle = {name for name in graph if any(name in graph[other] for other in graph)}
    assert not on_a_circle


def test_attributes_are_declared_and_not_guessed():
    guesses = [
        f"{file.name}:{node.lineno}"
        for package in PACKAGES
        for file in package.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr"
        if len(node.args) > 1 and isinstance(node.args[1], ast.Constant)
    ]
    assert len(guesses) <= 15, guesses


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
