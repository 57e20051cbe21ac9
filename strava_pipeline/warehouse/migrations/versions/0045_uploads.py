"""Files that come by a browser, and links by which athletes upload them."""

from __future__ import annotations

from alembic import op

revision = "0045"
down_revision = "0044"

_STATEMENTS = """
CREATE TABLE ops.upload_links (
    id BIGSERIAL NOT NULL,
    athlete_id BIGINT NOT NULL,
    secret_hash TEXT NOT NULL,
    proof TEXT NOT NULL,
    made_at TIMESTAMP WITH TIME ZONE DEFAULT ops.clock() NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_upload_links PRIMARY KEY (id)
);
COMMENT ON TABLE ops.upload_links IS
    'links by which an athlete may upload files of theirs, and do nothing else; what is not here is void';
COMMENT ON COLUMN ops.upload_links.id IS 'order in which they were made';
COMMENT ON COLUMN ops.upload_links.athlete_id IS 'Strava''s id of the athlete';
COMMENT ON COLUMN ops.upload_links.secret_hash IS 'sha256 of the secret part of the link';
COMMENT ON COLUMN ops.upload_links.proof IS 'of the operator''s token it was made under; tells nothing of it';
COMMENT ON COLUMN ops.upload_links.made_at IS 'when the link was made (UTC)';
COMMENT ON COLUMN ops.upload_links.expires_at IS 'no longer good from here (UTC)';
CREATE INDEX ix_upload_links_athlete_id ON ops.upload_links (athlete_id);
CREATE UNIQUE INDEX ix_upload_links_secret_hash ON ops.upload_links (secret_hash);
CREATE INDEX ix_upload_links_expires_at ON ops.upload_links (expires_at);
CREATE TABLE ops.uploads (
    id BIGSERIAL NOT NULL,
    athlete_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    ends_hash TEXT NOT NULL,
    received_bytes BIGINT NOT NULL,
    state TEXT NOT NULL,
    import_id BIGINT,
    begun_at TIMESTAMP WITH TIME ZONE DEFAULT ops.clock() NOT NULL,
    alive_at TIMESTAMP WITH TIME ZONE DEFAULT ops.clock() NOT NULL,
    CONSTRAINT pk_uploads PRIMARY KEY (id),
    CONSTRAINT ck_uploads_state CHECK (state IN ('open', 'handed_in'))
);
COMMENT ON TABLE ops.uploads IS
    'files that came by a browser, until their archive import has ended; they lie at STRAVA_UPLOAD_URL';
COMMENT ON COLUMN ops.uploads.id IS 'number of the upload';
COMMENT ON COLUMN ops.uploads.athlete_id IS 'Strava''s id of the athlete';
COMMENT ON COLUMN ops.uploads.name IS 'name of the file, as the browser tells it';
COMMENT ON COLUMN ops.uploads.size_bytes IS 'size of the file, bytes';
COMMENT ON COLUMN ops.uploads.ends_hash IS
    'sha256 of its first and last MiB: the same file goes on where it stopped';
COMMENT ON COLUMN ops.uploads.received_bytes IS 'how much of it is stored, bytes';
COMMENT ON COLUMN ops.uploads.state IS 'open (on its way) or handed_in (whole; an archive import reads it)';
COMMENT ON COLUMN ops.uploads.import_id IS 'number of the archive import that reads it; empty: it is not whole';
COMMENT ON COLUMN ops.uploads.begun_at IS 'when it began (UTC)';
COMMENT ON COLUMN ops.uploads.alive_at IS 'when its last part came (UTC)';
CREATE INDEX ix_uploads_athlete_id ON ops.uploads (athlete_id);
CREATE INDEX ix_uploads_alive_at ON ops.uploads (alive_at);
CREATE UNIQUE INDEX uq_uploads_open ON ops.uploads (athlete_id) WHERE state = 'open';
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
