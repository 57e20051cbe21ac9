"""The files of an export, and what is left out of it.

::

    manifest.json                                  what is in it: rows of each table, size and SHA-256 of each file
    README.txt                                     the same for people
    account.json                                   the connection: since when, permissions, address
    tables/strava.activities.jsonl.gz              every table, one JSON object a line: what is restored
    parquet/activities.parquet                     tables of schema strava, where pyarrow is installed
    csv/activities.csv                             the same for spreadsheets, without samples
    gpx/2025-06-10_20020.gpx                       every recorded activity with positions
    files/8123.fit.gz                              recordings as they were handed in
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

# Of manifest.json; raised when a program of before could not restore what this one writes.
FORM: Final = 1
PRODUCT: Final = "strava-pipeline athletes export"
MANIFEST, README, ACCOUNT = "manifest.json", "README.txt", "account.json"
DATA, OPS = "strava", "ops"
# The table of raw recordings; its bytes are files.
RECORDING_BYTES, BODY = f"{OPS}.recording_bytes", "body"
# Columns whose names sound like a secret, and which hold none.
NOT_SECRET: Final = frozenset({f"{OPS}.archive_imports.content_hash"})
# Tables that name athletes, but are about work under way in this installation, or hold its secrets.
UNDER_WAY: Final[Mapping[str, str]] = {
    f"{OPS}.job_progress": "what Dagster's runs do",
    f"{OPS}.restore_checks": "the check of a restored database",
    f"{OPS}.upkeep_pages": "a listing that has not ended",
    f"{OPS}.uploads": "files on their way, which are in it once they are imported",
    f"{OPS}.upload_links": "links of the operator's",
    f"{OPS}.work_leases": "which process is at work",
}
# What an export lacks, and why, for README.txt and docs/athlete-export.md.
LEFT_OUT: Final[Mapping[str, str]] = {
    f"{OPS}.users (tokens)": "secrets; account.json has the rest",
    f"{OPS}.token_journal": "secrets",
    f"{OPS}.token_audit": "the operator's record of tokens",
    f"{OPS}.webhook_events": "Strava's messages that something has changed; what they changed is in the tables",
    f"{OPS}.api_calls": "the count of requests",
    f"{OPS}.confirmation_mails": "the count of mails that ask for confirmation; it has no address",
    f"{OPS}.invites": "links of the operator's",
    f"{OPS}.alerts": "what is wrong with the installation",
    f"{OPS}.erasures": "erasures under way; nothing is exported meanwhile",
    f"{OPS}.locks": "which process is at work",
    **UNDER_WAY,
}
# Tables with samples, which GPX and Parquet have.
WITHOUT_CSV: Final = frozenset({f"{DATA}.activity_streams", f"{DATA}.recording_channels"})
FILE_NAME: Final = re.compile(
    r"README\.txt|account\.json|tables/(?:strava|ops)\.[a-z0-9_]{1,63}\.jsonl\.gz|parquet/[a-z0-9_]{1,63}\.parquet"
    r"|csv/[a-z0-9_]{1,63}\.csv|gpx/(?:\d{4}-\d\d-\d\d_)?-?\d{1,19}\.gpx|files/\d{1,19}\.[a-z0-9]{1,8}\.gz",
    re.ASCII,
)
_KIND: Final = re.compile(r"[a-z0-9]{1,8}", re.ASCII)
# Characters of a row as JSON: some days of samples, one a second.
LONGEST_ROW: Final = 128 * 2**20
LONGEST_RECORDING: Final = 512 * 2**20
LONGEST_MANIFEST: Final = 64 * 2**20
LONGEST_ACCOUNT: Final = 2**16


def table_file(table: str) -> str:
    """The file of a table's rows; ``table``: with its schema."""
    return f"tables/{table}.jsonl.gz"


def parquet_file(table: str) -> str:
    return f"parquet/{table.partition('.')[2]}.parquet"


def csv_file(table: str) -> str:
    return f"csv/{table.partition('.')[2]}.csv"


def recording_file(recording_id: int, kind: str) -> str:
    """The file of a recording; a kind that would not do for a name stands as ``bin``."""
    return f"files/{recording_id}.{kind if _KIND.fullmatch(kind) else 'bin'}.gz"
