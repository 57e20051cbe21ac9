"""The tables of uploads by browser (schema ``ops``): files on their way, and the links by which athletes upload."""

from __future__ import annotations

from sqlalchemy import Index, Table, text

from strava_pipeline.warehouse.schema import columns
from strava_pipeline.warehouse.schema.columns import only, owner
from strava_pipeline.warehouse.schema.ops_schema import SCHEMA, serial, stamped
from strava_pipeline.warehouse.schema.tables import metadata
from strava_pipeline.warehouse.states import UploadState

upload_links = Table(
    "upload_links",
    metadata,
    serial("order in which they were made"),
    owner(),
    columns.text("secret_hash", "sha256 of the secret part of the link", required=True),
    columns.text("proof", "of the operator's token it was made under; tells nothing of it", required=True),
    stamped("made_at", "when the link was made (UTC)"),
    columns.instant("expires_at", "no longer good from here (UTC)", required=True),
    Index(None, "athlete_id"),
    Index(None, "secret_hash", unique=True),
    Index(None, "expires_at"),
    schema=SCHEMA,
    comment="links by which an athlete may upload files of theirs, and do nothing else; what is not here is void",
)

uploads = Table(
    "uploads",
    metadata,
    serial("number of the upload"),
    owner(),
    columns.text("name", "name of the file, as the browser tells it", required=True),
    columns.bigint("size_bytes", "size of the file, bytes", required=True),
    columns.text(
        "ends_hash", "sha256 of its first and last MiB: the same file goes on where it stopped", required=True
    ),
    columns.bigint("received_bytes", "how much of it is stored, bytes", required=True),
    columns.text("state", "open (on its way) or handed_in (whole; an archive import reads it)", required=True),
    columns.bigint("import_id", "number of the archive import that reads it; empty: it is not whole"),
    stamped("begun_at", "when it began (UTC)"),
    stamped("alive_at", "when its last part came (UTC)"),
    only("state", UploadState),
    Index(None, "athlete_id"),
    Index(None, "alive_at"),
    Index("uq_uploads_open", "athlete_id", unique=True, postgresql_where=text("state = 'open'")),
    schema=SCHEMA,
    comment="files that came by a browser, until their archive import has ended; they lie at STRAVA_UPLOAD_URL",
)
