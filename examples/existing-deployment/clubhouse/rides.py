"""What the club computes from its members' activities, for each member and month."""

from datetime import date

import dagster as dg
import pandas as pd

from strava_pipeline import athlete_month_partitions, frames

ANALYSES = dg.AssetKey(["strava", "route_analyses"])
# The same partitions as Strava's assets have; both begin with this month.
FIRST_MONTH = date(2024, 1, 1)
MONTHS = athlete_month_partitions(history_start=FIRST_MONTH)
# After an import of a month, and after each webhook to a month that was imported. Without the exception Dagster looks
# at the latest month only.
AFTER_EACH_CHANGE = dg.AutomationCondition.eager().without(dg.AutomationCondition.in_latest_time_window())


class ClubTables(dg.ConfigurableResource):
    """The tables of activities, as the club's login for analysts reads them."""

    address: str


@dg.asset(
    group_name="club",
    partitions_def=MONTHS,
    ins={"analyses": dg.AssetIn(key=ANALYSES, metadata={"columns": ["elevation_gain_m", "moving_time_s"]})},
    automation_condition=AFTER_EACH_CHANGE,
)
def monthly_climbing(context: dg.AssetExecutionContext, analyses: pd.DataFrame) -> pd.DataFrame:
    """Activities of a member's month, metres climbed, and hours in motion.

    ``analyses`` are the month's rows of ``strava.route_analyses``.
    """
    member = context.partition_key.keys_by_dimension["athlete"]
    return pd.DataFrame(
        {
            "athlete_id": [int(member)],
            "activities": [len(analyses)],
            "climbed_m": [round(analyses["elevation_gain_m"].sum())],
            "hours": [round(analyses["moving_time_s"].sum() / 3600, 1)],
        }
    )


@dg.asset(group_name="club", partitions_def=MONTHS, deps=[ANALYSES], automation_condition=AFTER_EACH_CHANGE)
def bulletin(context: dg.AssetExecutionContext, club_tables: ClubTables) -> pd.DataFrame:
    """The three longest of a member's month that everybody may see at Strava, too."""
    month = context.partition_time_window
    member = context.partition_key.keys_by_dimension["athlete"]
    found = frames.activities(
        club_tables.address,
        athlete_id=int(member),
        start=month.start,
        end=month.end,
        columns=["start_date_local", "name", "distance", "visibility"],
    )
    public = found[found["visibility"] == "everyone"]
    return public.nlargest(3, "distance").drop(columns="visibility")
