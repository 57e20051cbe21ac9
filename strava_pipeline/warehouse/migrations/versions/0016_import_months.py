"""Keep which months an import has reached, and which steps of it failed for which month."""

from __future__ import annotations

from alembic import op

revision = "0016"
down_revision = "0015"

_STATEMENTS = """
CREATE TABLE ops.import_months (
    athlete_id bigint NOT NULL,
    month date NOT NULL,
    listed_at timestamp with time zone,
    lake_at timestamp with time zone,
    CONSTRAINT pk_import_months PRIMARY KEY (athlete_id, month)
);
COMMENT ON TABLE ops.import_months IS 'months that an import has reached, those without activities, too';
COMMENT ON COLUMN ops.import_months.athlete_id IS 'whose month';
COMMENT ON COLUMN ops.import_months.month IS 'first day of the month (UTC)';
COMMENT ON COLUMN ops.import_months.listed_at IS
    'when Strava was asked for the listing that last replaced the month (UTC)';
COMMENT ON COLUMN ops.import_months.lake_at IS
    'when the month''s file in the lake was last made equal to the tables (UTC)';

CREATE TABLE ops.failed_months (
    athlete_id bigint NOT NULL,
    month date NOT NULL,
    step text NOT NULL,
    failures integer NOT NULL,
    error text NOT NULL,
    failed_at timestamp with time zone NOT NULL,
    retry_at timestamp with time zone NOT NULL,
    CONSTRAINT pk_failed_months PRIMARY KEY (athlete_id, month, step),
    CONSTRAINT ck_failed_months_step CHECK (step IN ('summary', 'detail', 'streams', 'figures', 'lake'))
);
COMMENT ON TABLE ops.failed_months IS 'steps of an import that failed for one month, until they succeed';
COMMENT ON COLUMN ops.failed_months.athlete_id IS 'whose month';
COMMENT ON COLUMN ops.failed_months.month IS 'first day of the month (UTC)';
COMMENT ON COLUMN ops.failed_months.step IS 'the step that failed: summary, detail, streams, figures or lake';
COMMENT ON COLUMN ops.failed_months.failures IS 'how often it failed in a row';
COMMENT ON COLUMN ops.failed_months.error IS 'why it last failed, in one line';
COMMENT ON COLUMN ops.failed_months.failed_at IS 'when that was (UTC)';
COMMENT ON COLUMN ops.failed_months.retry_at IS 'when it is due again (UTC)';

-- A summary is stored by a listing alone, which replaced the month.
INSERT INTO ops.import_months (athlete_id, month, listed_at)
    SELECT a.athlete_id, date_trunc('month', a.start_date AT TIME ZONE 'UTC')::date, min(p.fetched_at)
    FROM strava.activities AS a JOIN ops.payloads AS p ON p.activity_id = a.id AND p.kind = 'summary'
    GROUP BY 1, 2;
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
