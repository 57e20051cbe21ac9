"""Mails that tell athletes that their archive has been imported."""

from __future__ import annotations

from alembic import op

revision = "0046"
down_revision = "0045"

_STATEMENTS = """
ALTER TABLE ops.notifications ADD COLUMN import_id BIGINT;
COMMENT ON COLUMN ops.notifications.import_id IS 'number of the archive import of a history';
CREATE UNIQUE INDEX uq_notifications_history ON ops.notifications (import_id) WHERE kind = 'history';
COMMENT ON COLUMN ops.notifications.kind IS
    'ride_summary; confirmation: asks the owner of an address whether mails may go there; reconnect: asks an athlete'
    ' whose grant has ended to connect again; history: an archive of theirs was imported';
COMMENT ON COLUMN ops.notifications.created_at IS
    'when the activity had been stored, the address was given, the grant was found to have ended, or the archive had'
    ' been imported (UTC)';
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
