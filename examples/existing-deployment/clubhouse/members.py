"""The club's members and their standings."""

from collections import Counter
from pathlib import Path

import dagster as dg
import pandas as pd

MEMBERS = Path(__file__).parents[1] / "data" / "members.csv"


@dg.asset(group_name="club")
def members() -> pd.DataFrame:
    """Everybody in the club: their athlete's id at Strava, name, and day of joining."""
    return pd.read_csv(MEMBERS)


@dg.asset(
    group_name="club",
    # Not everybody rode in every month.
    ins={"monthly_climbing": dg.AssetIn(metadata={"allow_missing_partitions": True})},
)
def standings(members: pd.DataFrame, monthly_climbing: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Metres climbed by each member, the most first."""
    climbed = Counter[int]()
    for month in monthly_climbing.values():
        climbed.update(dict(zip(month["athlete_id"], month["climbed_m"], strict=True)))
    totals = members.assign(climbed_m=members["athlete_id"].map(climbed))
    return totals[["name", "climbed_m"]].sort_values("climbed_m", ascending=False)
