"""All declared tables and views: each module of this package registers its own when it is imported."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from sqlalchemy import MetaData

from strava_pipeline.warehouse import schema
from strava_pipeline.warehouse.schema.tables import metadata


def all_declared() -> MetaData:
    """Return the metadata with every table and view."""
    for module in iter_modules(schema.__path__):
        if module.name.endswith(("tables", "views")):
            import_module(f"{schema.__name__}.{module.name}")
    return metadata
