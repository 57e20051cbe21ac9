"""Mails that ask athletes whose grant has ended to connect again."""

from __future__ import annotations

from alembic import op

revision = "0038"
down_revision = "0037"

_STATEMENTS = """
ALTER TABLE ops.notifications DROP CONSTRAINT ck_notifications_activity;
ALTER TABLE ops.notifications ADD CONSTRAINT ck_notifications_activity
    CHECK ((kind = 'ride_summary') = (activity_id IS NOT NULL));
CREATE UNIQUE INDEX ix_notifications_reconnect ON ops.notifications (athlete_id)
    WHERE state = 'pending' AND kind = 'reconnect';
COMMENT ON TABLE ops.notifications IS
    'mails about new activities, one row each at most, those that ask athletes for something, and their fate';
COMMENT ON COLUMN ops.notifications.activity_id IS 'Strava''s id of the activity of a ride_summary';
COMMENT ON COLUMN ops.notifications.kind IS
    'ride_summary; confirmation: asks the owner of an address whether mails may go there; reconnect: asks an athlete'
    ' whose grant has ended to connect again';
COMMENT ON COLUMN ops.notifications.athlete_id IS 'whose activity, address or grant, and to whom the mail goes';
COMMENT ON COLUMN ops.notifications.created_at IS
    'when the activity had been stored, the address was given, or the grant was found to have ended (UTC)';
COMMENT ON COLUMN ops.invites.athlete_id IS 'who has connected by it, or alone may; empty: nobody yet';
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
