"""Column lineage for Dagster's UI: the columns from which an asset's columns are computed."""

from collections.abc import Mapping, Sequence

import dagster as dg

from strava_pipeline.defs.plan import Plan
from strava_pipeline.names import Asset

_WAY = ("distance", "latitude", "longitude")
_POSITION = ("latitude", "longitude")
_POWER = ("watts", "time")
_HEART = ("heartrate", "time")
_MOTION = ("moving", "time")
_SAMPLES = (
    "time", "distance", "latitude", "longitude", "altitude", "velocity_smooth", "heartrate", "cadence", "watts",
    "temp", "moving", "grade_smooth",
)  # fmt: skip
# Figures by the streams from which they are computed.
_FIGURES: Mapping[tuple[str, ...], Sequence[str]] = {
    _WAY: ("distance_m",),
    _POSITION: (
        "haversine_distance_m", "route_kind", "south_deg", "west_deg", "north_deg", "east_deg", "left_turns",
        "right_turns", "route_polyline",
    ),
    ("time",): ("elapsed_time_s", "gap_count", "gap_time_s"),
    _MOTION: ("moving_time_s", "stopped_time_s"),
    (*_WAY, *_MOTION): ("average_speed_mps", "pace_s_per_km"),
    ("velocity_smooth", *_WAY, "time"): ("max_speed_mps",),
    ("altitude",): ("highest_altitude_m", "lowest_altitude_m", "barometric_altitude"),
    ("altitude", *_WAY): ("elevation_gain_m", "elevation_loss_m", "grades_m"),
    ("altitude", *_WAY, *_MOTION): ("grade_adjusted_speed_mps", "grade_adjusted_pace_s_per_km"),
    ("heartrate",): ("max_heartrate_bpm",),
    _HEART: ("average_heartrate_bpm", "training_impulse", "heart_rate_stress"),
    ("cadence", "time"): ("average_cadence_rpm",),
    ("temp", "time"): ("average_temperature_c",),
    ("watts",): ("max_power_w",),
    _POWER: ("normalized_power_w", "intensity", "training_stress", "work_kj"),
    ("moving", *_POWER): ("average_power_w", "power_variability"),
    ("heartrate", *_POWER): ("efficiency_w_per_bpm", "decoupling_percent", "training_load", "load_source"),
    _SAMPLES: ("jump_count", "stuck_time_s", "implausible_count", "faults"),
    ("point_count",): ("point_count",),
    ("fetched_at",): ("streams_fetched_at",),
    ("activity_id",): ("activity_id",),
    ("athlete_id",): ("athlete_id",),
}  # fmt: skip


def _lineage(deps: Mapping[str, Sequence[dg.TableColumnDep]]) -> dict[str, dg.TableColumnLineage]:
    return {"dagster/column_lineage": dg.TableColumnLineage(deps)}


def of_part(plan: Plan) -> dict[str, dg.TableColumnLineage]:
    """Lineage of rows fetched activity by activity: the ids come from the listing, all else from Strava."""
    listed = plan.key(Asset.ACTIVITIES)
    return _lineage(
        {
            "activity_id": [dg.TableColumnDep(listed, "id")],
            "athlete_id": [dg.TableColumnDep(listed, "athlete_id")],
        }
    )


def of_figures(plan: Plan) -> dict[str, dg.TableColumnLineage]:
    """Lineage of ``route_analyses``: the samples; for the load also whether power was measured, from the listing."""
    deps = {
        figure: [dg.TableColumnDep(plan.key(Asset.STREAMS), stream) for stream in streams]
        for streams, figures in _FIGURES.items()
        for figure in figures
    }
    for name in ("training_load", "load_source"):
        deps[name].append(dg.TableColumnDep(plan.key(Asset.ACTIVITIES), "device_watts"))
    return _lineage(deps)


def of_load(plan: Plan) -> dict[str, dg.TableColumnLineage]:
    """Lineage of ``training_load``: sums of the activities' loads, day by day."""
    load = [dg.TableColumnDep(plan.key(Asset.ANALYSES), "training_load")]
    computed = ("load", "fitness", "fatigue", "form", "week_load", "monotony", "strain")
    days = {"athlete_id": "athlete_id", "day": "start_date_local", "activity_count": "id"}
    return _lineage(
        dict.fromkeys(computed, load)
        | {name: [dg.TableColumnDep(plan.key(Asset.ACTIVITIES), source)] for name, source in days.items()}
    )
