"""The project file names what the packages import, and up to where it is known to work."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
OURS = ("strava_pipeline", "webhook_bridge")
DECLARED = {
    canonicalize_name(wanted.name): wanted
    for wanted in map(Requirement, tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])
}
DISTRIBUTIONS = {
    package: {canonicalize_name(name) for name in names} for package, names in packages_distributions().items()
}


def modules() -> Iterator[tuple[Path, ast.Module]]:
    for package in OURS:
        for path in (ROOT / package).rglob("*.py"):
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def imports(module: ast.Module) -> dict[str, str]:
    """Each imported name, and the package above where it comes from; those for type checks alone left out."""
    found: dict[str, str] = {}
    pending: list[ast.AST] = [module]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            found |= {(name.asname or name.name).partition(".")[0]: name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {name.asname or name.name: node.module.partition(".")[0] for name in node.names}
        pending += ast.iter_child_nodes(node)
    return {name: package for name, package in found.items() if package not in (*OURS, *sys.stdlib_module_names)}


def bases(module: ast.Module) -> Iterator[str]:
    """The first word of each class that another is made from."""
    for node in ast.walk(module):
        if isinstance(node, ast.ClassDef):
            for base in node.bases:
                yield ast.unparse(base).partition("[")[0].partition(".")[0]


def test_what_is_imported_is_declared() -> None:
    undeclared = {
        package
        for _, module in modules()
        for package in imports(module).values()
        if not DISTRIBUTIONS[package] & DECLARED.keys()
    }
    assert undeclared == set()


def test_a_library_whose_classes_are_subclassed_has_a_ceiling() -> None:
    subclassed = {
        package for _, module in modules() for name, package in imports(module).items() if name in set(bases(module))
    }
    # Otherwise this looks at nothing.
    assert {"waitress", "urllib3", "uvicorn"} <= subclassed
    for package in subclassed:
        (declared,) = (DECLARED[name] for name in DISTRIBUTIONS[package] & DECLARED.keys())
        assert any(limit.operator in ("<", "==", "~=") for limit in declared.specifier), declared
