"""Check the months that changed, and find by an index what was searched for in whole tables."""

from __future__ import annotations

from alembic import op

revision = "0032"
down_revision = "0031"

_STATEMENTS = """
CREATE TABLE ops.changed_months (
    id bigserial NOT NULL,
    athlete_id bigint NOT NULL,
    month date NOT NULL,
    CONSTRAINT pk_changed_months PRIMARY KEY (id)
);
COMMENT ON TABLE ops.changed_months IS
    'months whose activities, answers, samples or put-aside activities changed since they were last checked';
COMMENT ON COLUMN ops.changed_months.id IS 'order of the marks';
COMMENT ON COLUMN ops.changed_months.athlete_id IS 'whose month';
COMMENT ON COLUMN ops.changed_months.month IS 'first day of the month (UTC)';
CREATE TABLE ops.month_checks (
    athlete_id bigint NOT NULL,
    month date NOT NULL,
    twice integer NOT NULL,
    lacks_detail integer NOT NULL,
    detail_aside integer NOT NULL,
    lacks_samples integer NOT NULL,
    samples_aside integer NOT NULL,
    checked_at timestamp with time zone NOT NULL,
    due_at timestamp with time zone,
    CONSTRAINT pk_month_checks PRIMARY KEY (athlete_id, month)
);
COMMENT ON TABLE ops.month_checks IS 'what may be wrong with each athlete''s month, as of its last check';
COMMENT ON COLUMN ops.month_checks.athlete_id IS 'whose month';
COMMENT ON COLUMN ops.month_checks.month IS 'first day of the month (UTC)';
COMMENT ON COLUMN ops.month_checks.twice IS 'activities that were recorded twice';
COMMENT ON COLUMN ops.month_checks.lacks_detail IS 'listed activities without their current detail';
COMMENT ON COLUMN ops.month_checks.detail_aside IS 'of these, put aside';
COMMENT ON COLUMN ops.month_checks.lacks_samples IS 'activities without their samples';
COMMENT ON COLUMN ops.month_checks.samples_aside IS 'of these, put aside';
COMMENT ON COLUMN ops.month_checks.checked_at IS 'when that was counted (UTC)';
COMMENT ON COLUMN ops.month_checks.due_at IS
    'when the counts change by themselves (UTC); empty: not before the month changes';
-- Nothing was checked by month until now.
INSERT INTO ops.changed_months (athlete_id, month)
    SELECT DISTINCT athlete_id, date_trunc('month', start_date AT TIME ZONE 'UTC')::date FROM strava.activities;
CREATE INDEX ix_changed_months_athlete_id ON ops.changed_months (athlete_id);
CREATE INDEX ix_month_checks_twice ON ops.month_checks (month) WHERE twice > 0;
CREATE INDEX ix_month_checks_details ON ops.month_checks (athlete_id) WHERE lacks_detail > 0;
CREATE INDEX ix_month_checks_samples ON ops.month_checks (athlete_id) WHERE lacks_samples > 0;
CREATE INDEX ix_month_checks_checked_at ON ops.month_checks (checked_at);
CREATE INDEX ix_month_checks_due ON ops.month_checks (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX ix_activities_start_date ON strava.activities (start_date);
CREATE INDEX ix_activities_out_of_range ON strava.activities (start_date)
    WHERE distance < 0 OR elapsed_time < 0 OR moving_time < 0 OR max_heartrate > 250;
CREATE INDEX ix_activity_streams_athlete_id_point_count ON strava.activity_streams (athlete_id, point_count);
CREATE INDEX ix_payloads_athlete_id_kind ON ops.payloads (athlete_id, kind);
DROP INDEX ops.ix_payloads_athlete_id;
CREATE INDEX ix_webhook_events_discarded ON ops.webhook_events (id) WHERE state = 'discarded';
CREATE INDEX ix_webhook_events_owner_id_source_received_at
    ON ops.webhook_events (owner_id, source, received_at);
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
