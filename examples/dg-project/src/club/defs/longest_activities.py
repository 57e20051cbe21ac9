"""An asset of the project, which takes one of Strava's as its input: one partition for each athlete's month."""

from datetime import date

import dagster as dg
import pandas as pd

from strava_pipeline import athlete_month_partitions

# After an import of a month, and after each webhook to a month that was imported. Without the exception Dagster looks
# at the latest month only.
AFTER_EACH_CHANGE = dg.AutomationCondition.eager().without(dg.AutomationCondition.in_latest_time_window())


@dg.asset(
    ins={"activities": dg.AssetIn(["strava", "activities"], metadata={"columns": ["id", "name", "distance"]})},
    partitions_def=athlete_month_partitions(history_start=date(2024, 1, 1)),
    automation_condition=AFTER_EACH_CHANGE,
)
def longest_activities(activities: pd.DataFrame) -> pd.DataFrame:
    """The three longest activities of each athlete's month."""
    return activities.nlargest(3, "distance")
