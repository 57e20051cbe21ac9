"""Which tests start processes, read from their code: ``make integration`` runs these.

A test starts processes if its function or one of its fixtures names, in its body or in an annotation, a module or
class that does, or a thing of the tests that names one in turn. Running tests check that reading: a test that starts a
process all the same fails until it is marked by hand. The tests' Postgres does not count.
"""

from __future__ import annotations

import inspect
import multiprocessing
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest

from strava_pipeline.local.supervisor import Supervisor

MARKER = "processes"
TESTS = __name__.partition(".")[0]
STARTING = (subprocess, multiprocessing, Supervisor)
EVENTS = frozenset({"os.fork", "os.posix_spawn", "subprocess.Popen"})
# Of the tests' Postgres; and what libraries ask as they are imported: what Python is made for, and the processor.
PROGRAMS = frozenset({"file", "initdb", "lscpu", "pg_basebackup", "pg_ctl"})
_WORD = re.compile(r"\w+")
_started: list[str] = []


def mark(items: list[pytest.Item]) -> None:
    """Mark the tests that start processes."""
    for item in items:
        if isinstance(item, pytest.Function) and any(map(_starts_processes, _functions(item))):
            item.add_marker(MARKER)


def watch() -> None:
    """Note from now on which processes are started from here; there is no way to end that."""

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event in EVENTS and not (arguments and Path(arguments[0]).name in PROGRAMS):
            _started.append(f"{event} {arguments[:2]}")

    sys.addaudithook(note)


def started() -> list[str]:
    """The processes noted since the last call, each in words."""
    found = _started.copy()
    _started.clear()
    return found


def _functions(item: pytest.Function) -> Iterator[FunctionType]:
    """A test's own function, and those of its fixtures."""
    yield item.function
    for fixtures in item._fixtureinfo.name2fixturedefs.values():
        yield from (fixture.func for fixture in fixtures if isinstance(fixture.func, FunctionType))


@cache
def _starts_processes(function: FunctionType) -> bool:
    reached, unread = set[int](), [_unwrapped(function)]
    while unread:
        thing = unread.pop()
        if any(thing is known for known in STARTING):
            return True
        if id(thing) not in reached:
            reached.add(id(thing))
            unread += map(_unwrapped, _named_by(thing))
    return False


def _named_by(thing: Any) -> Iterator[Any]:
    """The things that a function or class of the tests names."""
    # By its type alone: what stands for something else, as Flask's request does, is not asked anything.
    if type(thing) is type and thing.__module__.startswith(TESTS):
        yield from (*vars(thing).values(), *thing.__bases__)
    elif type(thing) is property:
        yield thing.fget
    elif type(thing) is FunctionType and thing.__module__.startswith(TESTS):
        names = {*_names(thing.__code__), *_WORD.findall(str(thing.__annotations__))}
        found = [thing.__globals__[name] for name in names & thing.__globals__.keys()]
        yield from found
        for module in found:
            if type(module) is ModuleType and module.__name__.startswith(TESTS):
                yield from (vars(module)[name] for name in names & vars(module).keys())


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names(inner)


def _unwrapped(thing: Any) -> Any:
    """The function within a decorated one, such as a context manager, a class method, or Hypothesis' own."""
    if type(thing) in (classmethod, staticmethod):
        thing = thing.__func__
    if type(thing) is not FunctionType:
        return thing
    return inspect.unwrap(thing.hypothesis.inner_test if hasattr(thing, "hypothesis") else thing)
