"""What was handed in for an athlete, as metadata of the asset ``archive_files``: the archive imports, with reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import dagster as dg

from strava_pipeline.defs.markdown import code, listing
from strava_pipeline.warehouse.archives.imports import ArchiveImport
from strava_pipeline.warehouse.archives.overview import count_of
from strava_pipeline.warehouse.states import ArchiveState

# Dagster keeps metadata with each materialization.
MOST_IMPORTS: Final = 25
MOST_LINES: Final = 25
# Figures of a report that are shown, and the words for them.
COUNTS: Final[Mapping[str, str]] = {
    "rows": "rows",
    "recordings": "recordings",
    "matched": "matched",
    "own": "without a row",
    "without_file": "without file",
    "damaged": "damaged",
    "unreadable": "unreadable",
    "cropped": "cropped",
    "merged": "merged",
    "skipped": "skipped",
}
# Parts of a report that name what is wrong, line by line.
LISTS: Final[Mapping[str, str]] = {
    "faults": "unreadable files",
    "missing_files": "missing files",
    "bad_rows": "unreadable rows",
    "doubts": "doubts",
}
_COLUMNS: Final = ("import", "handed in", "what", "by", "state", *COUNTS.values())


def handed_in_metadata(found: Sequence[ArchiveImport]) -> dict[str, Any]:
    """Return what Dagster shows of an athlete's archive imports, the newest first: counts, a table, and what is wrong.

    The counts, and lists of what is wrong, are those of the newest one that is done.
    """
    metadata: dict[str, Any] = {"requests": 0, "archive imports": len(found), "imports": _table(found[:MOST_IMPORTS])}
    done = next((each for each in found if each.state is ArchiveState.DONE), None)
    report = {} if done is None or done.report is None else done.report
    for name, words in COUNTS.items():
        if name in report:
            metadata[words] = count_of(report, name)
    for name, words in LISTS.items():
        if lines := [str(line) for line in report.get(name) or ()]:
            metadata[words] = listing(_shortened(lines))
    failed = found[0] if found and found[0].state is ArchiveState.FAILED else None
    if failed is not None:
        metadata["failure"] = listing([f"{failed.name}: {failed.failure}"])
    return metadata


def _table(found: Iterable[ArchiveImport]) -> dg.MarkdownMetadataValue:
    lines = [" | ".join(_COLUMNS), " | ".join("---" for _ in _COLUMNS)]
    for each in found:
        counts = ["" if each.report is None else f"{count_of(each.report, name):,}" for name in COUNTS]
        cells = (str(each.id), f"{each.begun_at:%Y-%m-%d}", _cell(each.name), each.came_by, each.state, *counts)
        lines.append(" | ".join(cells))
    return dg.MetadataValue.md("\n".join(f"| {line} |" for line in lines))


def _cell(text: str) -> str:
    # A bar ends a cell even within code.
    return code(text.replace("|", "/"))


def _shortened(lines: Sequence[str]) -> list[str]:
    more = len(lines) - MOST_LINES
    return [*lines[:MOST_LINES], *([f"and {more} more"] if more > 0 else [])]
