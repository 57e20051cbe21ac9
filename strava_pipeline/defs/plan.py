"""What :func:`strava_pipeline.defs.code_location.build_strava_defs` was asked for, checked: all factories read it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any, Final

import dagster as dg

from strava_pipeline.defs.partitions import athlete_partitions, grid_from
from strava_pipeline.defs.pools import Pools
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.extras import Extra, ensure_installed
from strava_pipeline.kept_assets import check_kept, installed_assets
from strava_pipeline.names import APP_TAG, DEPLOYMENT_TAG, GUEST, OWN, Asset, Names
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.settings_references import without_secrets

# The key of our IO manager among the resources of a code location.
IO_MANAGER: Final = "strava_io_manager"
# The output of an op that hands over nothing but its order.
NO_VALUE: Final = dg.Out(dg.Nothing, io_manager_key=IO_MANAGER)
# A run covers up to a year of an athlete.
YEARLY: Final = 12
Translation = Callable[[dg.AssetSpec], dg.AssetSpec]


@dataclass(frozen=True)
class Plan:
    """How the definitions of one code location are made.

    ``kept``: plain names of the assets. ``given``: settings by field, which go before those of the environment; no
    secret, but where one is to be found. ``is_own``: whether the deployment is our own, or a guest in somebody else's.
    """

    names: Names = field(default_factory=Names)
    kept: frozenset[str] = field(default_factory=installed_assets)
    group_name: str | None = None
    owners: Sequence[str] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    policy: dg.BackfillPolicy = field(default_factory=lambda: dg.BackfillPolicy.multi_run(YEARLY))
    runs_schedules: bool = False
    has_sensor: bool = True
    pool: str | None = None
    deletes_runs: bool = False
    translation: Translation | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    is_own: bool = False

    def load_settings(self) -> Settings:
        """Return the settings: those given, then those of the environment. ``ConfigurationError``."""
        return load_settings(**self.given)

    @cached_property
    def settings_at_load(self) -> Settings:
        """The settings as the definitions are made: read once, since a pool's name and its limit must fit together.

        Those secrets that are given are left out: definitions are made, and shown, without them.
        """
        return load_settings(**without_secrets(self.given, Settings.model_fields))

    def settings_with_database(self) -> Settings:
        """Return the settings. ``ConfigurationError`` if they name no database that Dagster's processes may use."""
        settings = self.load_settings()
        settings.require_shared_database()
        return settings

    def grid(self) -> dg.MultiPartitionsDefinition:
        """Return the partitions athlete x month, from the settings' first month on."""
        return grid_from(self.names, self.settings_at_load.history_start)

    def athletes(self) -> dg.DynamicPartitionsDefinition:
        """Return the partitions by athlete."""
        return athlete_partitions(self.names)

    def pools(self) -> Pools:
        """Return the pools of all runs: our own, or the one that was asked for."""
        if self.pool is not None:
            return Pools.one(self.pool)
        return Pools.from_settings(self.names, self.settings_at_load)

    def key(self, asset: str) -> dg.AssetKey:
        """Return the key of one of our assets."""
        return dg.AssetKey(self.names.asset_path(asset))

    def deps(self, *assets: str) -> list[dg.AssetKey]:
        """Return the keys of those of the assets that are kept."""
        return [self.key(asset) for asset in assets if asset in self.kept]

    def group(self, name: str) -> str:
        """Return the group of assets: the one that was asked for, or one of ours."""
        return self.group_name or self.names.group(name)

    def asset_tags(self, asset: str) -> dict[str, str]:
        """Return an asset's tags: those that were asked for, and ours."""
        return {**self.tags, **self.names.asset_tags(asset)}

    def job_tags(self, job: str) -> dict[str, str]:
        """Return a job's tags, by which any process finds it."""
        app = self.settings_at_load.client_id
        whose = {DEPLOYMENT_TAG: OWN if self.is_own else GUEST} | ({} if app is None else {APP_TAG: app})
        return self.names.job_tags(job) | whose

    def run_tags(self, job: str, *more: Mapping[str, str]) -> dict[str, str]:
        """Return the tags of a job's runs: by which each is known to be ours, and ``more``."""
        tags = self.names.job_tags(job)
        for each in more:
            tags |= each
        return tags

    @property
    def schedule_status(self) -> dg.DefaultScheduleStatus:
        """Whether schedules run before a person has started or stopped them."""
        return dg.DefaultScheduleStatus.RUNNING if self.runs_schedules else dg.DefaultScheduleStatus.STOPPED

    @property
    def sensor_status(self) -> dg.DefaultSensorStatus:
        """Whether sensors run before a person has started or stopped them."""
        return dg.DefaultSensorStatus.RUNNING if self.runs_schedules else dg.DefaultSensorStatus.STOPPED

    def translated(self, spec: dg.AssetSpec) -> dg.AssetSpec:
        """Return an asset's spec as the host wants it. ``ConfigurationError`` if it lost what we find it by."""
        if self.translation is None:
            return spec
        asset = spec.key.to_user_string()
        try:
            new: object = self.translation(spec)
        except Exception as error:  # whatever the host's own code may raise
            raise ConfigurationError(f"the translation of {asset} failed: {type(error).__name__}: {error}") from error
        if not isinstance(new, dg.AssetSpec):
            raise ConfigurationError(f"the translation of {asset} gives {new!r}: it must return an AssetSpec")
        lost = [
            what
            for what, before, after in (
                ("key", spec.key, new.key),
                ("partitions_def", spec.partitions_def, new.partitions_def),
                ("tags of ours", ours(spec.tags), ours(new.tags)),
            )
            if before != after
        ]
        if lost:
            raise ConfigurationError(
                f"the translation of {asset} changes {', '.join(lost)}: key_prefix and"
                " history_start set keys and partitions, and our tags must stay"
            )
        return new


def ours(tags: Mapping[str, str]) -> dict[str, str]:
    """Return those of an asset's tags by which we find it."""
    return {name: value for name, value in tags.items() if name.startswith("strava_pipeline/")}


def names_with(key_prefix: str | Sequence[str]) -> Names:
    """Return the names with a prefix as a host gives it. ``ConfigurationError`` for one that Dagster does not take."""
    parts: object = key_prefix.split("/") if isinstance(key_prefix, str) else key_prefix
    if not isinstance(parts, Sequence) or not all(isinstance(part, str) for part in parts):
        raise ConfigurationError(f"key_prefix: {key_prefix!r}: give a text, or a list of texts")
    try:
        return Names(tuple(parts))
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def start_given(history_start: date | None) -> dict[str, str]:
    """Return the setting of the first month as a host gives it; none if it gives none. ``ConfigurationError``."""
    if history_start is None:
        return {}
    given: object = history_start
    if not isinstance(given, date):
        raise ConfigurationError(f"history_start: {given!r}: give a date of Python's, such as date(2015, 1, 31)")
    return {"history_start": given.isoformat()}


def kept_assets(assets: Iterable[str] | None) -> frozenset[str]:
    """Return the plain names of the assets to keep; without a choice, all that can be kept here.

    ``ConfigurationError`` as those of check_kept, or if the lake is chosen without its extra.
    """
    if assets is None:
        return installed_assets()
    kept = check_kept(assets)
    if Asset.LAKE in kept:
        ensure_installed(Extra.LAKE, f"the asset {Asset.LAKE}")
    return kept
