"""Our definitions as a Dagster component, for a project that is written in YAML (``dg``)."""

from collections.abc import Mapping, Sequence
from datetime import date
from functools import cache
from typing import Annotated, Any, Literal, Self, cast

import dagster as dg
from dagster.components.resolved.core_models import (
    MultiRunBackfillPolicyModel,
    SingleRunBackfillPolicyModel,
    resolve_backfill_policy,
)
from dagster.components.utils.translation import TranslationFn, TranslationFnResolver
from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, create_model, model_validator
from pydantic_core import InitErrorDetails

from strava_pipeline.defs.code_location import build_strava_defs
from strava_pipeline.defs.component_scaffolder import AssetName, StravaComponentScaffolder
from strava_pipeline.names import ASSET_TAG

# A setting's value as YAML gives it, or the name of a secret's variable or file: {env: NAME}, {file: PATH}.
SettingValue = str | int | float | bool | dict[str, str] | None


@dg.scaffold_with(StravaComponentScaffolder)
class StravaComponent(dg.Component, dg.Model, dg.Resolvable):
    """Athletes' Strava activities as assets: a SQL copy that is kept complete and fresh, within Strava's rate limits.

    Adds assets, asset checks, jobs, schedules and resources, whose names all begin with ``key_prefix``, and no executor
    and no default IO manager: everything else in the project behaves as before. Schedules are stopped until they are
    started in Dagster's UI, or ``schedules: running`` starts them.

    Settings such as the address of the database are read from environment variables (``STRAVA_DATABASE_URL``), unless
    ``settings`` gives them. A secret is never an attribute: name its variable or file, as in
    ``database_url: {env: WAREHOUSE_URL}``.

    A subclass may override ``get_asset_spec``, through which the spec of each asset goes.
    """

    # A template that gives digits gives a number: `{{ env.GROUP }}`.
    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True, hide_input_in_errors=True)

    key_prefix: Annotated[
        str | Sequence[str],
        dg.Resolver.default(
            description="What comes before each asset's name: one part, or several. Names of jobs, schedules, groups,"
            " pools and partitions begin with it, too.",
            examples=["strava", ["sports", "strava"]],
        ),
    ] = "strava"
    group_name: Annotated[
        str | None,
        dg.Resolver.default(
            description="Group of all assets. Without it there are four groups, such as strava_activities.",
            examples=["fitness"],
        ),
    ] = None
    owners: Annotated[
        Sequence[str] | None,
        dg.Resolver.default(
            description="Owners of all assets: addresses of people, or teams.", examples=[["team:fitness"]]
        ),
    ] = None
    tags: Annotated[
        Mapping[str, str] | None,
        dg.Resolver.default(description="Tags of all assets, beside ours.", examples=[{"domain": "sports"}]),
    ] = None
    assets: Annotated[
        Sequence[AssetName] | None,
        dg.Resolver.default(
            description="Assets to keep; what is left out is neither fetched nor shown. Without it: all of them.",
            examples=[["activities", "activity_details"]],
        ),
    ] = None
    history_start: Annotated[
        date | None,
        dg.Resolver.default(
            model_field_type=date,
            description="No month before that of this day has partitions. Without it: STRAVA_HISTORY_START.",
            examples=["2015-01-01"],
        ),
    ] = None
    backfill_policy: Annotated[
        dg.BackfillPolicy | None,
        dg.Resolver(
            resolve_backfill_policy,
            model_field_type=SingleRunBackfillPolicyModel | MultiRunBackfillPolicyModel,
            description="How many months a run of a backfill covers. Without it: up to twelve of an athlete.",
            examples=[{"type": "multi_run", "max_partitions_per_run": 6}],
        ),
    ] = None
    schedules: Annotated[
        Literal["running", "stopped"],
        dg.Resolver.default(
            description="Whether schedules, and the sensor of training_load, run before anybody has started them."
        ),
    ] = "stopped"
    sensor: Annotated[
        bool,
        dg.Resolver.default(
            description="Whether a sensor of ours computes training_load. Dagster allows an asset one sensor of"
            " automation conditions: false if one of yours looks at all assets."
        ),
    ] = True
    pool: Annotated[
        str | None,
        dg.Resolver.default(
            description="A pool of yours for all of our runs but those of webhooks. Without it: three pools of ours.",
            examples=["strava_api"],
        ),
    ] = None
    delete_runs: Annotated[
        bool,
        dg.Resolver.default(
            description="Whether old runs of ours are deleted from Dagster (STRAVA_RUN_RETENTION_DAYS)."
        ),
    ] = False
    translation: Annotated[
        Annotated[TranslationFn[str], TranslationFnResolver[str](lambda asset: {"asset": asset})] | None,
        dg.Resolver.default(
            description="Changes the spec of each asset, which templates know as spec; asset is its name without the"
            " prefix. Key and partitions stay.",
            examples=[{"group_name": "strava_{{ asset }}"}],
        ),
    ] = None
    settings: Annotated[
        Mapping[str, SettingValue] | None,
        dg.Resolver.default(
            description="Settings by name without STRAVA_, in lower case; they go before environment variables. Of a"
            " secret only {env: NAME} or {file: PATH}.",
            examples=[{"client_id": "{{ env.MY_CLIENT_ID }}", "database_url": {"env": "WAREHOUSE_URL"}}],
        ),
    ] = None

    @classmethod
    def model(cls) -> type[BaseModel]:
        """Return the model of the YAML, whose errors quote no value: Dagster shows them, and it may be a secret."""
        return _quoting_nothing(super().model())

    def get_asset_spec(self, spec: dg.AssetSpec) -> dg.AssetSpec:
        """Return the spec of an asset as the project wants it; by default as ``translation`` says.

        ``spec.tags["strava_pipeline/asset"]`` is the name without the prefix. Key, partitions and our tags must stay.
        """
        return spec if self.translation is None else self.translation(spec, spec.tags[ASSET_TAG])

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002  the signature is Dagster's
        """Build the assets, checks, jobs, schedules and resources."""
        return build_strava_defs(
            key_prefix=self.key_prefix,
            group_name=self.group_name,
            owners=self.owners,
            tags=self.tags,
            assets=self.assets,
            history_start=self.history_start,
            backfill_policy=self.backfill_policy,
            schedules=self.schedules,
            sensor=self.sensor,
            pool=self.pool,
            delete_runs=self.delete_runs,
            translation=self.get_asset_spec,
            settings=_as_variables(self.settings or {}),
        )


class _QuotesNothing(BaseModel):
    """A model whose errors hold no input. Dagster writes them anew, whatever the model's settings say of that."""

    @model_validator(mode="wrap")
    @classmethod
    def _validated(cls, value: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(value)
        except ValidationError as error:
            lines = [cast("InitErrorDetails", {**line, "input": "not shown"}) for line in error.errors()]
            raise ValidationError.from_exception_data(error.title, lines) from None


@cache
def _quoting_nothing(model: type[BaseModel]) -> type[BaseModel]:
    return create_model(model.__name__, __base__=(_QuotesNothing, model))


def _as_variables(settings: Mapping[str, SettingValue]) -> dict[str, Any]:
    """Settings as variables would give them: numbers as text, and those without a value not at all."""
    return {
        name: str(value) if isinstance(value, int | float) else value
        for name, value in settings.items()
        if value not in (None, "")
    }
