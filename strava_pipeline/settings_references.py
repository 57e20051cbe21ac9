"""Settings that a caller gives, such as Dagster's definitions, in place of the environment.

Dagster keeps what definitions are given in clear text, and shows it. So a secret is given by reference only:
``{"env": "NAME"}`` for a variable of the environment, ``{"file": "/path"}`` for a file. Other settings may be given
either way.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from typing import Any

from pydantic.fields import FieldInfo

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.printable import printable
from strava_pipeline.settings_sources import PREFIX, is_secret, read_value, variable_of, without_blanks
from strava_pipeline.settings_values import EMBEDDED

# Anything else could be a secret that stands in the wrong place, such as the address of a database.
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


def given_values(given: Mapping[str, Any], fields: Mapping[str, FieldInfo]) -> dict[str, Any]:
    """Return what is given, by the names that the settings class takes, with its references resolved.

    ``None`` counts as not given. ``ConfigurationError``, which never shows a value, for a name that no field has, for a
    secret that is given itself, and for a reference to nothing.
    """
    unknown = [name for name in given if name not in fields]
    if unknown:
        raise ConfigurationError(_unknown(unknown, fields))
    return {
        _key(name, fields[name]): _resolved(name, value, fields[name])
        for name, value in given.items()
        if value is not None
    }


def without_secrets(given: Mapping[str, Any], fields: Mapping[str, FieldInfo]) -> dict[str, Any]:
    """Return what is given but for secrets, which only the process that uses them need have.

    ``ConfigurationError`` for a secret that is given itself, and for what is no reference.
    """
    for name, value in given.items():
        if name in fields and is_secret(fields[name]) and value is not None:
            _check_secret(name, value, fields[name])
    return {name: value for name, value in given.items() if name not in fields or not is_secret(fields[name])}


def _unknown(names: list[str], fields: Mapping[str, FieldInfo]) -> str:
    told = []
    for name in names:
        near = difflib.get_close_matches(name.lower().removeprefix(PREFIX.lower()), fields, n=1)
        told.append(printable(repr(name)) + (f" (did you mean {near[0]}?)" if near else ""))
    return (
        f"there is no setting {', '.join(told)}: docs/settings.md lists all, without STRAVA_ and in small letters here"
    )


def _key(name: str, field: FieldInfo) -> str:
    # By the same key as in all other sources: under two, pydantic would take the environment's.
    return field.validation_alias if isinstance(field.validation_alias, str) else name


def _resolved(name: str, value: Any, field: FieldInfo) -> Any:
    if is_secret(field):
        _check_secret(name, value, field)
    if isinstance(value, str):
        return without_blanks(value)
    if not isinstance(value, Mapping):
        return value
    kind, place = _reference(name, value)
    return _of_variable(name, place) if kind == "env" else _of_file(name, place)


def _check_secret(name: str, value: Any, field: FieldInfo) -> None:
    if isinstance(value, Mapping):
        _reference(name, value)
    elif (name, value) != ("database_url", EMBEDDED):
        raise ConfigurationError(
            f"{name} is secret and must not be given itself, since Dagster shows what it is given: give"
            f" {{env: {variable_of(name, field)}}} or {{file: /path/of/a/file}}"
        )


def _reference(name: str, reference: Mapping[str, Any]) -> tuple[str, str]:
    """The kind of a reference, ``env`` or ``file``, and the name of what it refers to."""
    [(kind, place)] = reference.items() if len(reference) == 1 else [(None, None)]
    if kind == "env" and isinstance(place, str) and not _VARIABLE.fullmatch(place):
        raise ConfigurationError(
            f"{name} refers to a variable by what is no name: {{env: NAME}} takes a name of capital letters, digits and"
            " underscores, and never the value"
        )
    if kind == "file" and isinstance(place, str) and not place.startswith("/"):
        raise ConfigurationError(f"{name} refers to a file: give its whole path, which begins with /")
    if kind in {"env", "file"} and isinstance(place, str):
        return kind, place
    raise ConfigurationError(f"{name} refers to nothing: a reference is {{env: NAME}} or {{file: /path/of/a/file}}")


def _of_variable(name: str, variable: str) -> str:
    value = without_blanks(os.environ.get(variable))
    if not value:
        raise ConfigurationError(f"{name} refers to the variable {variable}, which is not set in this process")
    return value


def _of_file(name: str, path: str) -> str:
    value = read_value(path, name)
    if not value:
        raise ConfigurationError(f"{name} refers to {path}, which is empty")
    return value
