"""What a library could change in the process that imports it, as it stands now."""

from __future__ import annotations

import atexit
import decimal
import gc
import locale
import logging
import os
import random
import resource
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import stamina.instrumentation

# The program that asks, by both its names.
PROGRAM = ("__main__", "__mp_main__")
OURS = ("strava_pipeline", "webhook_bridge")
# What Python, and libraries as they load more of their own, hang on and off by themselves.
_CALLABLE = (type, type(len), type(lambda: None))


def is_ours(name: str) -> bool:
    return name.partition(".")[0] in OURS


def state() -> dict[str, Any]:
    """Name -> value, both comparable within one process."""
    mask = os.umask(0o77)
    os.umask(mask)
    return {
        "record factory": logging.getLogRecordFactory(),
        "logger class": logging.getLoggerClass(),
        "last resort": logging.lastResort,
        "disabled levels": logging.root.manager.disable,
        "level names": logging.getLevelNamesMapping(),
        "loggers": dict(_loggers()),
        "exception hooks": (sys.excepthook, threading.excepthook, sys.unraisablehook, sys.displayhook),
        "tracing": (sys.gettrace(), sys.getprofile()),
        "calls at the end": atexit._ncallbacks(),  # the only way to see them
        "warnings": ([*warnings.filters], warnings.showwarning, warnings.formatwarning),
        "garbage collector": (
            gc.get_freeze_count(),
            gc.isenabled(),
            gc.get_threshold(),
            gc.get_debug(),
            [*gc.callbacks],
        ),
        "retry hooks": (stamina.instrumentation.get_on_retry_hooks(), stamina.is_active()),
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "environment": dict(os.environ),
        "threads": [thread.name for thread in threading.enumerate()],
        "limits": {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if "RLIMIT_" in name},
        "umask": mask,
        "folder": Path.cwd(),
        "locale": locale.setlocale(locale.LC_ALL),
        "time-out of sockets": socket.getdefaulttimeout(),
        "imports": ([*sys.path], [*sys.meta_path], [*sys.path_hooks]),
        "limits of the interpreter": (sys.getrecursionlimit(), sys.getswitchinterval()),
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "arithmetic": repr(decimal.getcontext()),
        "chance": random.getstate(),
        "functions of others": dict(_functions_of_others()),
    }


def differences(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What has another value than before, and which."""
    return {name: _new(before[name], after[name]) for name in before if before[name] != after[name]}


def _new(before: Any, after: Any) -> Any:
    if not isinstance(before, dict):
        return repr(after)
    return {str(key): repr(after.get(key)) for key in before | after if before.get(key) != after.get(key)}


def _loggers() -> Iterator[tuple[str, Any]]:
    """What was set up at each logger; of ours, all but the filter that redacts their own records."""
    loggers = {"": logging.root} | logging.root.manager.loggerDict
    for name, logger in loggers.items():
        if not isinstance(logger, logging.Logger):
            continue
        set_up = (logger.level, [*logger.handlers], [] if is_ours(name) else [*logger.filters], logger.propagate)
        if set_up != (logging.NOTSET, [], [], True):
            yield name, set_up


def _functions_of_others() -> Iterator[tuple[str, int]]:
    """Each function and class that a module of somebody else holds by name: none is replaced."""
    for name, module in [*sys.modules.items()]:
        if isinstance(module, ModuleType) and not is_ours(name) and name not in PROGRAM:
            for attribute, value in [*vars(module).items()]:
                if isinstance(value, _CALLABLE):
                    yield f"{name}.{attribute}", id(value)
