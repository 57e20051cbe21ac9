"""Which settings a program may read, by the code that its module reaches through imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from strava_pipeline.settings import Settings

ROOT = Path(__file__).parents[1]
PACKAGES = ("strava_pipeline", "webhook_bridge")
# These name every setting, and use none.
OF_ALL_SETTINGS = {"strava_pipeline.settings", "strava_pipeline.settings_page", "strava_pipeline.settings_references"}


def settings_reached_by(*modules: str) -> frozenset[str]:
    """The fields of settings that the code of these modules, or of any that they import, names."""
    reached, waiting = set[str](), [*modules]
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting += _imports_of(module)
    return frozenset[str]().union(*(_fields_in(module) for module in reached - OF_ALL_SETTINGS))


@cache
def _modules() -> dict[str, Path]:
    paths = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


@cache
def _tree_of(module: str) -> ast.Module:
    return ast.parse(_modules()[module].read_text(encoding="utf-8"))


@cache
def _imports_of(module: str) -> frozenset[str]:
    """The modules that a module imports, at its top or in a function; not those for types only."""
    for_types = {
        id(inner)
        for node in ast.walk(_tree_of(module))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set[str]()
    for node in ast.walk(_tree_of(module)):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(found & _modules().keys())


@cache
def _fields_in(module: str) -> frozenset[str]:
    """The fields that a module names: as an attribute, as a text, or by a method of the settings."""
    return frozenset(field for name in _names_in(_tree_of(module)) for field in _fields_by_name().get(name, ()))


def _names_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@cache
def _fields_by_name() -> dict[str, frozenset[str]]:
    """Each field by its own name, and those that a method or property of the settings reads, by its name."""
    [settings] = [
        node
        for node in _tree_of("strava_pipeline.settings").body
        if isinstance(node, ast.ClassDef) and node.name == Settings.__name__
    ]
    methods = {node.name: {*_names_in(node)} for node in settings.body if isinstance(node, ast.FunctionDef)}
    found = {field: frozenset({field}) for field in Settings.model_fields}
    for name in methods:
        found[name] = frozenset(_through(methods, name) & Settings.model_fields.keys())
    return found


def _through(methods: dict[str, set[str]], name: str) -> set[str]:
    """What a method names, or any method that it calls."""
    reached, waiting = set[str](), [name]
    while waiting:
        named = waiting.pop()
        if named not in reached:
            reached.add(named)
            waiting += methods.get(named, ())
    return reached
