"""The Dagster run of an archive import, for bridge and code location: the name of its op, its config and its tags."""

from __future__ import annotations

from typing import Any, Final

from strava_pipeline.names import Names

# The plain name of the job's one op.
ARCHIVE_OP: Final = "import_handed_in"


def archive_config(names: Names, athlete_id: int, import_id: int) -> dict[str, Any]:
    """Return the config of the run that works on an archive import."""
    return {"ops": {names.op(ARCHIVE_OP): {"config": {"athlete_id": athlete_id, "import_id": import_id}}}}


def archive_tags(names: Names, athlete_id: int, import_id: int) -> dict[str, str]:
    """Return the tags of that run, by which Dagster finds it again."""
    return names.backfill_tags(athlete_id) | import_tags(names, import_id)


def import_tags(names: Names, import_id: int) -> dict[str, str]:
    """Return the tags that only runs of this archive import have."""
    return {names.tag("archive_import"): str(import_id)}
