"""The analysts' views of figures computed from samples."""

from __future__ import annotations

from strava_pipeline.warehouse.schema.declared_view import DeclaredView


def _best(table: str, measure: str, amount: str | None, order: str, condition: str = "") -> str:
    """The best values of one measure; of equal ones the first.

    ``amount``: the column that tells over how much; ``None``: over the whole activity. Each measure is sorted by
    itself: that takes two thirds of the time that all of them take together.
    """
    over = "" if amount is None else f", m.{amount}"
    told = "NULL" if amount is None else f"m.{amount}"
    return (
        f"(SELECT DISTINCT ON (m.athlete_id, a.type{over}) m.athlete_id, a.type, '{measure}' AS measure,"  # noqa: S608  constants
        f" {told}::double precision AS amount, m.{measure} AS value, m.activity_id, a.start_date AS achieved_at"
        # The athlete is named twice, so that those of one athlete are found by the indexes of both tables.
        f" FROM strava.{table} AS m JOIN strava.activities AS a ON a.id = m.activity_id AND a.athlete_id = m.athlete_id"
        f" WHERE m.{measure} > 0{condition}"
        f" ORDER BY m.athlete_id, a.type{over}, m.{measure} {order}, a.start_date)"
    )


ANALYSIS_VIEWS = (
    DeclaredView(
        "route_ranks",
        "one row per activity with a route: its rank among the athlete's on it",
        """
SELECT m.activity_id, m.athlete_id, m.route_id, m.reversed, a.sport_type, r.moving_time_s,
       rank() OVER taken AS rank_on_route,
       count(*) OVER (PARTITION BY m.athlete_id, m.route_id, m.reversed, a.sport_type) AS times_taken,
       min(r.moving_time_s) OVER taken AS best_time_s,
       r.moving_time_s - min(r.moving_time_s) OVER taken AS behind_best_s
FROM strava.route_matches AS m
JOIN strava.activities AS a ON a.id = m.activity_id AND a.athlete_id = m.athlete_id
JOIN strava.route_analyses AS r ON r.activity_id = m.activity_id AND r.athlete_id = m.athlete_id
WHERE r.moving_time_s > 0
WINDOW taken AS (PARTITION BY m.athlete_id, m.route_id, m.reversed, a.sport_type ORDER BY r.moving_time_s)
""",
        {
            "activity_id": "Strava's id of the activity",
            "athlete_id": "Strava's id of the athlete",
            "route_id": "the route: id of the activity that was the first to be found on it",
            "reversed": "taken the other way round than by that activity",
            "sport_type": "kind of sport; each has ranks of its own",
            "moving_time_s": "time in motion, s",
            "rank_on_route": "1 for the athlete's fastest on this route in this direction",
            "times_taken": "how often the athlete took this route in this direction",
            "best_time_s": "the athlete's shortest time in motion on it, s",
            "behind_best_s": "time in motion minus the shortest one, s",
        },
    ),
    DeclaredView(
        "athlete_records",
        "one row per athlete, sport and measure: the best ever",
        " UNION ALL ".join(
            (
                _best("power_curve", "power_w", "duration_s", "DESC", " AND a.device_watts IS NOT FALSE"),
                _best("power_curve", "heart_rate_bpm", "duration_s", "DESC"),
                _best("power_curve", "speed_mps", "duration_s", "DESC"),
                _best("distance_efforts", "elapsed_time_s", "distance_m", "ASC"),
                *(
                    _best("route_analyses", name, None, "DESC")
                    for name in ("distance_m", "moving_time_s", "elevation_gain_m")
                ),
            )
        ),
        {
            "athlete_id": "Strava's id of the athlete",
            "type": "kind of sport, the older and coarser list",
            "measure": "what is the best: power_w, heart_rate_bpm and speed_mps over a duration;"
            " elapsed_time_s over a distance; distance_m, moving_time_s and elevation_gain_m of a whole activity",
            "amount": "the duration, s, or the distance, m; empty for whole activities",
            "value": "the best one, in the unit the measure names",
            "activity_id": "the activity that achieved it first",
            "achieved_at": "start of that activity (UTC)",
        },
    ),
)
