"""Indexes by which a merge finds the files and offsets near an activity, however long the history is."""

from __future__ import annotations

from alembic import op

revision = "0047"
down_revision = "0046"

_STATEMENTS = """
CREATE INDEX ix_archive_files_row_id ON ops.archive_files (row_id);
CREATE INDEX ix_archive_files_athlete_id_recording_id ON ops.archive_files (athlete_id, recording_id);
DROP INDEX ops.ix_archive_files_athlete_id;
CREATE INDEX ix_archive_files_undecided ON ops.archive_files (athlete_id)
    WHERE activity_id IS NULL AND doubt IS NULL AND fault IS NULL;
CREATE INDEX ix_activities_known_offset ON strava.activities (athlete_id, start_date)
    WHERE offset_assumed IS NOT TRUE AND utc_offset IS NOT NULL;
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
