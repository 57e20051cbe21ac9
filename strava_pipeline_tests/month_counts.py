"""Compares what was counted month by month, as months changed, with a count of everything."""

from __future__ import annotations

from datetime import date

from sqlalchemy import Engine, select, text

from strava_pipeline.warehouse.activities.month_checks import check_changed_months
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.warehouse.schema.check_tables import changed_months, month_checks

Counts = dict[tuple[int, date], tuple[int, ...]]
# Written apart from the product's query, and without a thought for time: every row of every table.
EVERYTHING = """
SELECT a.athlete_id, date_trunc('month', a.start_date AT TIME ZONE 'UTC')::date,
    count(*) FILTER (WHERE a.id > (SELECT min(b.id) FROM strava.activities AS b WHERE b.athlete_id = a.athlete_id
        AND b.start_date = a.start_date AND b.elapsed_time = a.elapsed_time AND b.sport_type = a.sport_type)),
    count(*) FILTER (WHERE no_detail), count(*) FILTER (WHERE no_detail AND EXISTS (
        SELECT FROM ops.put_aside WHERE activity_id = a.id AND step = 'detail')),
    count(*) FILTER (WHERE no_samples), count(*) FILTER (WHERE no_samples AND EXISTS (
        SELECT FROM ops.put_aside WHERE activity_id = a.id AND step = 'streams'))
FROM strava.activities AS a
LEFT JOIN (SELECT * FROM ops.payloads WHERE kind = 'summary') AS listed ON listed.activity_id = a.id
LEFT JOIN (SELECT * FROM ops.payloads WHERE kind = 'detail') AS detail ON detail.activity_id = a.id
LEFT JOIN strava.activity_streams AS s ON s.activity_id = a.id
CROSS JOIN LATERAL (SELECT
    listed.digest IS NOT NULL AND (detail.digest IS NULL OR detail.digest <> listed.digest
        AND (detail.fetched_at < listed.fetched_at OR detail.fetched_at > ops.clock())),
    s.point_count IS NULL OR s.point_count = 0
        AND s.fetched_at < a.start_date + coalesce(a.elapsed_time, 0) * interval '1 second' + interval '1 day'
        AND a.manual IS NOT TRUE
        AND (a.has_heartrate IS TRUE OR a.device_watts IS TRUE OR a.summary_polyline <> '' OR a.start_latlng <> '{}')
) AS lacking(no_detail, no_samples)
GROUP BY 1, 2
"""


def counts_of_everything(engine: Engine) -> Counts:
    """The counts by athlete and month, from all rows."""
    with autocommit(engine) as connection:
        return {(row[0], row[1]): tuple(row[2:]) for row in connection.execute(text(EVERYTHING))}


def counts_after_a_check(engine: Engine) -> Counts:
    """The counts by athlete and month as they are stored, after the months that changed were checked."""
    check_changed_months(engine)
    names = ("athlete_id", "month", "twice", "lacks_detail", "detail_aside", "lacks_samples", "samples_aside")
    with autocommit(engine) as connection:
        assert connection.execute(select(changed_months)).all() == []
        rows = connection.execute(select(*(month_checks.c[name] for name in names)))
        return {(row[0], row[1]): tuple(row[2:]) for row in rows}
