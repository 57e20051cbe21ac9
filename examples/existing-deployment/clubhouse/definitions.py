"""The club's code location: what it had before, and Strava's assets beside that."""

import dagster as dg

from clubhouse import members, rides
from clubhouse.storage import ClubStorage
from strava_pipeline import build_strava_defs

RUNNING = dg.DefaultSensorStatus.RUNNING


def own_defs() -> dg.Definitions:
    """Return what the club had before, and what it built on Strava's assets since."""
    return dg.Definitions(
        assets=[members.members, members.standings, rides.monthly_climbing, rides.bulletin],
        # Dagster's own would stand still until somebody turns it on.
        sensors=[
            dg.AutomationConditionSensorDefinition(
                "club_automation", target=[rides.monthly_climbing, rides.bulletin], default_status=RUNNING
            )
        ],
        resources={
            "io_manager": ClubStorage(folder=dg.EnvVar("CLUB_FOLDER")),
            "club_tables": rides.ClubTables(address=dg.EnvVar("CLUB_TABLES_URL")),
        },
        executor=dg.multiprocess_executor.configured({"max_concurrent": 2}),
    )


@dg.definitions
def defs() -> dg.Definitions:
    """Return the whole location."""
    strava = build_strava_defs(
        history_start=rides.FIRST_MONTH,
        # Neither the lake's Parquet files nor the training load: nobody in the club needs them.
        assets=["athletes", "gear", "activities", "activity_details", "activity_streams", "route_analyses"],
        owners=["team:clubhouse"],
        schedules="running",
    )
    return dg.Definitions.merge(own_defs(), strava)
