"""Mark months with samples that have no file in the lake, so that a lake that was asked for becomes whole."""

from __future__ import annotations

from alembic import op

revision = "0031"
down_revision = "0030"

_STATEMENTS = """
COMMENT ON COLUMN ops.import_months.lake_at IS
    'when the month''s file in the lake was last made equal to the tables (UTC); 1970: begun, never finished';
COMMENT ON COLUMN ops.import_months.lake_outdated_at IS
    'when samples of the month last changed (UTC) that its file in the lake, if there is one, does not have so far';
COMMENT ON TABLE ops.import_months IS
    'months that an import has reached, those without activities, too, and months with samples';
CREATE INDEX ix_import_months_in_lake ON ops.import_months (athlete_id) WHERE lake_at IS NOT NULL;
-- Until now only months that may have a file were marked: whoever began one may have died.
UPDATE ops.import_months SET lake_at = '1970-01-01 00:00:00+00' WHERE lake_at IS NULL AND lake_outdated_at IS NOT NULL;
INSERT INTO ops.import_months AS known (athlete_id, month, lake_outdated_at)
SELECT a.athlete_id, date_trunc('month', timezone('UTC', a.start_date))::date, ops.clock()
FROM strava.activities AS a JOIN strava.activity_streams AS s ON s.activity_id = a.id
GROUP BY 1, 2
ON CONFLICT (athlete_id, month) DO UPDATE SET lake_outdated_at = excluded.lake_outdated_at WHERE known.lake_at IS NULL;
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
