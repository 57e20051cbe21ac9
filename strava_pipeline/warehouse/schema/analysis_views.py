"""The analysts' views of figures computed from samples."""

from __future__ import annotations

from strava_pipeline.warehouse.schema.declared_view import DeclaredView

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
JOIN strava.activities AS a ON a.id = m.activity_id
JOIN strava.route_analyses AS r ON r.activity_id = m.activity_id
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
        """
SELECT DISTINCT ON (m.athlete_id, a.type, m.measure, m.amount)
       m.athlete_id, a.type, m.measure, m.amount, m.value, m.activity_id, a.start_date AS achieved_at
FROM (
    SELECT activity_id, athlete_id, 'power_w' AS measure, duration_s::double precision AS amount,
           power_w AS value, -power_w AS place
    FROM strava.power_curve
    UNION ALL
    SELECT activity_id, athlete_id, 'heart_rate_bpm', duration_s, heart_rate_bpm, -heart_rate_bpm
    FROM strava.power_curve
    UNION ALL
    SELECT activity_id, athlete_id, 'speed_mps', duration_s, speed_mps, -speed_mps FROM strava.power_curve
    UNION ALL
    SELECT activity_id, athlete_id, 'elapsed_time_s', distance_m, elapsed_time_s, elapsed_time_s
    FROM strava.distance_efforts
    UNION ALL
    SELECT activity_id, athlete_id, 'distance_m', NULL, distance_m, -distance_m FROM strava.route_analyses
    UNION ALL
    SELECT activity_id, athlete_id, 'moving_time_s', NULL, moving_time_s, -moving_time_s FROM strava.route_analyses
    UNION ALL
    SELECT activity_id, athlete_id, 'elevation_gain_m', NULL, elevation_gain_m, -elevation_gain_m
    FROM strava.route_analyses
) AS m
JOIN strava.activities AS a ON a.id = m.activity_id
WHERE m.value > 0 AND (m.measure <> 'power_w' OR a.device_watts IS NOT FALSE)
ORDER BY m.athlete_id, a.type, m.measure, m.amount, m.place, a.start_date
""",
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
