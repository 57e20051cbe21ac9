"""Keep whether Strava answers, for all processes."""

from __future__ import annotations

from alembic import op

revision = "0019"
down_revision = "0018"

_STATEMENTS = """
CREATE TABLE ops.outages (
    service text NOT NULL,
    unanswered integer NOT NULL,
    first_sent_at timestamp with time zone,
    only_activity bigint,
    several boolean NOT NULL,
    hosts text[] NOT NULL,
    away_since timestamp with time zone,
    probe_at timestamp with time zone,
    probe_began_at timestamp with time zone,
    pause_s double precision,
    reason text,
    CONSTRAINT pk_outages PRIMARY KEY (service),
    CONSTRAINT ck_outages_service CHECK (service IN ('api', 'oauth'))
);
COMMENT ON TABLE ops.outages IS 'whether Strava answers: what all processes know of their calls since its last answer';
COMMENT ON COLUMN ops.outages.service IS 'api or oauth';
COMMENT ON COLUMN ops.outages.unanswered IS 'calls in a row that Strava did not answer';
COMMENT ON COLUMN ops.outages.first_sent_at IS 'when the first of these was sent (UTC); empty: the last call was '
    'answered';
COMMENT ON COLUMN ops.outages.only_activity IS 'Strava''s id of the activity that all of them are about; empty: none, '
    'or several';
COMMENT ON COLUMN ops.outages.several IS 'they are not all about one activity';
COMMENT ON COLUMN ops.outages.hosts IS 'machines whose calls since then got no answer, at most 20';
COMMENT ON COLUMN ops.outages.away_since IS 'since when nothing answers (UTC); empty: it is not away';
COMMENT ON COLUMN ops.outages.probe_at IS 'when the next call may try whether it answers again (UTC)';
COMMENT ON COLUMN ops.outages.probe_began_at IS 'when the last of these was booked (UTC); its answer alone moves '
    'probe_at';
COMMENT ON COLUMN ops.outages.pause_s IS 'from a failed try to the next, s';
COMMENT ON COLUMN ops.outages.reason IS 'why the last call had no answer';
COMMENT ON COLUMN ops.webhook_events.waiting_for IS 'when waiting: dagster, activity, streams, quota, app, outage, '
    'strava, database or replay';
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
