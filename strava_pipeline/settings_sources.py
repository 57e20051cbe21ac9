"""Where settings come from beside the environment: files of secrets, and the settings file."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.home import checked_home, home_from_environment, settings_file
from strava_pipeline.printable import printable

PREFIX = "STRAVA_"


def variable_of(name: str, field: FieldInfo) -> str:
    """Return the name of the environment variable for a field of this name."""
    alias = field.validation_alias
    return alias if isinstance(alias, str) else f"{PREFIX}{name.upper()}"


def without_blanks(text: str | None) -> str:
    """Return a setting's text without blanks and line breaks around it; '' for none: both count as unset."""
    return (text or "").strip()


def is_secret(field: FieldInfo) -> bool:
    """Whether a field of :class:`Settings` holds a secret: it is masked, and may be given in a file of its own."""
    return SecretStr in (field.annotation, *getattr(field.annotation, "__args__", ()))


class _NamedValues(PydanticBaseSettingsSource):
    """A source that looks up each field by the name of its environment variable.

    pydantic-settings' own sources silently skip malformed lines, and know no ``<NAME>_FILE``.
    """

    def lookup(self, name: str, field: FieldInfo) -> str | None:
        raise NotImplementedError

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self.lookup(variable_of(field_name, field), field), field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {}
        for field_name, field in self.settings_cls.model_fields.items():
            value = self.get_field_value(field, field_name)[0]
            if value:
                key = field.validation_alias if isinstance(field.validation_alias, str) else field_name
                found[key] = value
        return found


class Environment(EnvSettingsSource):
    """The environment, whose values lose the blanks and line breaks around them."""

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls)
        cut = {name: without_blanks(text) for name, text in self.env_vars.items()}
        self.env_vars = {name: text for name, text in cut.items() if text}


class SecretFiles(_NamedValues):
    """The files that ``<NAME>_FILE`` names, one for each secret."""

    def lookup(self, name: str, field: FieldInfo) -> str | None:
        path = without_blanks(os.environ.get(f"{name}_FILE"))
        return read_value(path, f"{name}_FILE") if path and is_secret(field) else None


def read_value(path: str, name: str) -> str:
    """Return the value that a file holds for the setting ``name``. ``ConfigurationError`` if it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigurationError(f"{name} cannot be read: {printable(path)}: {reason}") from None


def _read_settings_file(path: Path) -> dict[str, str | None]:
    """The variables in the file; ``ConfigurationError`` for a malformed line, and for a file of another user."""
    try:
        for ours in (path.parent, path):
            # The owner of the file or its folder could make this program do anything in this user's name.
            if ours.stat().st_uid not in {os.geteuid(), 0}:
                raise ConfigurationError(f"{ours} belongs to another user: chown it, or choose another STRAVA_HOME")
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigurationError(f"{path} cannot be read: {reason}") from None
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            raise ConfigurationError(f"{path}, line {binding.original.line}: not of the form NAME=value")
    return dotenv_values(stream=io.StringIO(text), interpolate=False)


class SettingsFile(_NamedValues):
    """The settings file in ``STRAVA_HOME``, which may have been given."""

    def __init__(self, settings_cls: type[BaseSettings], given_home: object = None) -> None:
        super().__init__(settings_cls)
        # Of another type, it is refused with all that is given.
        home = checked_home(given_home) if isinstance(given_home, str | Path) else home_from_environment()
        self._values = _read_settings_file(settings_file(home))

    def lookup(self, name: str, field: FieldInfo) -> str | None:  # noqa: ARG002  the signature is the class's
        return without_blanks(self._values.get(name))
