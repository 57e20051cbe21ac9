"""What a host asks for reaches its assets, jobs and pools, and what we find them by stays ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg
import pytest

from strava_pipeline.defs.code_location import OWNERS, build_strava_defs, own_plan
from strava_pipeline.defs.plan import Plan, names_with
from strava_pipeline.defs.pools import set_up_pools
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.names import ALL_ASSETS, HISTORY_ASSETS, NO_RETRIES, Asset, Job, Names
from strava_pipeline.strava.quota.windows import Lane

NAMES = Names()
# The assets of an athlete's month.
MONTHLY = (*HISTORY_ASSETS, Asset.LAKE)


def specs(**asked: Any) -> dict[str, dg.AssetSpec]:
    """The assets' specs by plain name."""
    found = build_strava_defs(**asked).resolve_all_asset_specs()
    return {str(NAMES.asset_of(spec.key.to_user_string())): spec for spec in found}


def pools(**asked: Any) -> set[str | None]:
    """The pools of all steps."""
    jobs = build_strava_defs(**asked).resolve_all_job_defs()
    return {node.pool for job in jobs for node in job.all_node_defs if isinstance(node, dg.OpDefinition)}


def policies(**asked: Any) -> dict[str, dg.BackfillPolicy | None]:
    """The backfill policies by plain name."""
    defs = build_strava_defs(**asked)
    return {asset: defs.resolve_assets_def(dg.AssetKey(NAMES.asset_path(asset))).backfill_policy for asset in MONTHLY}


@pytest.mark.parametrize(
    ("key_prefix", "parts"),
    [
        ("rides", ("rides",)),
        ("sports/rides", ("sports", "rides")),
        (["sports", "rides"], ("sports", "rides")),
        (("rides",), ("rides",)),
    ],
)
def test_a_prefix_is_a_text_or_its_parts(key_prefix: str | Sequence[str], parts: tuple[str, ...]) -> None:
    assert names_with(key_prefix) == Names(parts)


@pytest.mark.parametrize("key_prefix", ["", "/rides", "rides/", "my rides", [], ["a/b"], ["a.b"]])
def test_a_prefix_that_dagster_does_not_take_is_refused_in_one_line(key_prefix: str | Sequence[str]) -> None:
    with pytest.raises(ConfigurationError, match=r"\Akey_prefix .* parts of letters, digits and underscores\Z"):
        build_strava_defs(key_prefix=key_prefix)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"key_prefix": None}, "key_prefix: None: give a text"),
        ({"key_prefix": [1]}, r"key_prefix: \[1\]: give a text"),
        ({"key_prefix": "a" * 64}, "is too long: 63 characters at most"),
        ({"history_start": "2015-01-31"}, "history_start: '2015-01-31': give a date"),
        ({"pool": ""}, "pool: the name is empty"),
    ],
    ids=["no prefix", "a number", "a long prefix", "a text for a date", "an empty pool"],
)
def test_what_is_none_of_the_values_asked_for_is_refused_in_one_line(asked: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told) as refused:
        build_strava_defs(**asked)
    assert "\n" not in str(refused.value)


def test_the_longest_prefix_loads() -> None:
    dg.Definitions.validate_loadable(build_strava_defs(key_prefix=["a" * 31, "b" * 31]))


def test_schedules_that_are_neither_running_nor_stopped_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"\Aschedules: True: give 'running' or 'stopped'\Z"):
        build_strava_defs(schedules=True)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("owners", "shown"),
    [(None, list(OWNERS)), (["team:data"], ["team:data"]), ([], [])],
    ids=["ours", "theirs", "none"],
)
def test_owners_are_those_that_were_asked_for(owners: Sequence[str] | None, shown: list[str]) -> None:
    assert [list(spec.owners) for spec in specs(owners=owners).values()] == [shown] * len(ALL_ASSETS)


def test_tags_are_added_and_ours_stay() -> None:
    hiding = {"domain": "sports", "strava_pipeline/asset": "mine", "strava_pipeline/prefix": "mine"}
    for asset, spec in specs(tags=hiding).items():
        shown = {name: value for name, value in spec.tags.items() if not name.startswith("dagster/")}
        assert shown == {"domain": "sports"} | NAMES.asset_tags(asset)


def test_what_a_run_needs_is_in_the_tags_of_its_job_as_well() -> None:
    """Dagster's ``launchRun``, by which the bridge starts runs, gives them the tags of the job alone."""
    made = [job for job in build_strava_defs().jobs or () if isinstance(job, dg.JobDefinition)]
    tags = {job.name: job.tags for job in made}
    for job in made:
        assert job.tags.items() >= job.run_tags.items()
    assert tags[NAMES.job(Job.WEBHOOK_SYNC)].items() >= NAMES.lane_tags(Lane.LIVE).items()
    assert tags[NAMES.job(Job.NEWEST_MONTH)].items() >= NO_RETRIES.items()


def test_without_a_group_each_asset_is_in_one_of_four() -> None:
    groups = {spec.group_name for spec in specs().values()}
    assert groups == {"strava_athletes", "strava_activities", "strava_analysis", "strava_lake"}
    assert {spec.group_name for spec in specs(group_name="fitness").values()} == {"fitness"}


def test_all_steps_in_pools_are_in_the_one_that_was_asked_for() -> None:
    assert pools() == {None, NAMES.pool, NAMES.newest_pool, NAMES.upkeep_pool}
    assert pools(pool="theirs") == {None, "theirs"}


@pytest.mark.parametrize(
    ("plan", "limits"),
    [
        (Plan(pool="theirs"), {"theirs": 1}),
        (Plan(names=Names(("rides",))), {"theirs": 1, "rides_api": 4, "rides_newest": 2, "rides_upkeep": 1}),
    ],
    ids=["one of theirs", "our own"],
)
@pytest.mark.usefixtures("settings")
def test_the_limit_of_a_hosts_pool_is_the_hosts(plan: Plan, limits: dict[str, int]) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.event_log_storage.set_concurrency_slots("theirs", 1)
        set_up_pools(instance, plan.names, plan.pools())
        found = {limit.name: limit.limit for limit in instance.event_log_storage.get_pool_limits()}
    assert found == limits


@pytest.mark.parametrize(
    ("asked", "policy"),
    [(None, dg.BackfillPolicy.multi_run(12)), (dg.BackfillPolicy.multi_run(1), dg.BackfillPolicy.multi_run(1))],
    ids=["a year", "a month"],
)
def test_a_run_covers_as_many_months_as_was_asked_for(
    asked: dg.BackfillPolicy | None, policy: dg.BackfillPolicy
) -> None:
    assert policies(backfill_policy=asked) == dict.fromkeys(MONTHLY, policy)


def first_months(found: Iterable[dg.AssetSpec]) -> set[str]:
    """The first months of the assets' partitions."""
    grids = [spec.partitions_def for spec in found if isinstance(spec.partitions_def, dg.MultiPartitionsDefinition)]
    return {grid.get_partitions_def_for_dimension("month").get_partition_keys()[0] for grid in grids}


def test_the_first_month_goes_before_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_HISTORY_START", "2015-04-02")
    assert first_months(specs().values()) == {"2015-04-01"}
    assert first_months(specs(history_start=date(2021, 8, 20)).values()) == {"2021-08-01"}
    assert first_months(specs(settings={"history_start": "2020-01-01"}).values()) == {"2020-01-01"}


@pytest.mark.parametrize(
    "given", [{"history_start": "2021-08-20"}, {"smtp_url": {"env": "THEIR_MAIL_SERVER"}}], ids=["plain", "reference"]
)
def test_settings_reach_runs_as_they_were_given(given: Mapping[str, Any]) -> None:
    """Dagster shows the fields of resources: of a secret they hold the place alone."""
    warehouse = (build_strava_defs(settings=given).resources or {})["strava_warehouse"]
    assert warehouse.settings == given


def test_an_asset_is_built_on_those_that_are_kept() -> None:
    plan = Plan(kept=frozenset({Asset.ACTIVITIES}))
    assert plan.deps(Asset.ACTIVITIES, Asset.DETAILS) == [dg.AssetKey(["strava", "activities"])]


@pytest.mark.parametrize(("is_own", "told"), [(True, "own"), (False, "guest")])
def test_jobs_tell_whose_deployment_it_is_and_their_runs_do_not(*, is_own: bool, told: str) -> None:
    plan = Plan(is_own=is_own)
    assert plan.job_tags("upkeep") == NAMES.job_tags("upkeep") | {"strava_pipeline/deployment": told}
    assert plan.run_tags("upkeep", {"more": "1"}) == NAMES.job_tags("upkeep") | {"more": "1"}


def test_definitions_are_made_from_settings_that_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A code server lasts for months: the limits of pools go by the names that its jobs have."""
    monkeypatch.setenv("STRAVA_RUNS_AT_ONCE", "10")
    plan = own_plan()
    pools = plan.pools()
    monkeypatch.setenv("STRAVA_RUNS_AT_ONCE", "2")
    assert plan.pools() == pools
    assert own_plan().pools() != pools
