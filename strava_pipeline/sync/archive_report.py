"""The quality report of an archive import: what it held, what became of it, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from strava_pipeline.files.archive.members import Listing
from strava_pipeline.printable import printable
from strava_pipeline.sync.archive_index import NAMED, ArchiveIndex
from strava_pipeline.warehouse.archives.import_counts import ImportCounts

# A word of a table may be as long as its cell.
_LONGEST_WORD = 100


@dataclass(frozen=True, kw_only=True)
class Report:
    """What an archive import found. Counts are of everything; lists name the first :data:`.NAMED`.

    ``import_id``: number of the archive import. ``rows``: read from the table; ``merged``: those of activities that
    Strava's API tells of, too; ``gone``: those of activities that were deleted at Strava, and stay so. ``skipped``:
    rows that are not read, by reason; ``bad_rows``: their lines. ``without_file``: rows without a recording, of which
    Strava could not write ``failed_exports``, and ``stray_filenames`` name something that is none.

    ``recordings``: files that were handed in; ``matched``: taken for an activity of Strava's; ``own``: an activity of
    its own; ``unreadable``: nothing is read of them, as ``faults`` says; ``postponed``: those of them that took too
    long, or whose reader was ended, and which the same import tries again; ``damaged``: by kind, those of which the
    rest was read; ``cropped``: the activity is a part of the file only; ``doubts``: files that are like an activity,
    and why they were not taken for it. ``missing``: recordings that rows name and the archive lacks. ``strays``: names
    that point out of the archive, which nobody opens. ``sport_words``: unknown words with their rows. ``requests``: to
    Strava, none.
    """

    import_id: int
    rows: int = 0
    merged: int = 0
    gone: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    bad_rows: tuple[str, ...] = ()
    without_file: int = 0
    failed_exports: int = 0
    stray_filenames: int = 0
    recordings: int = 0
    matched: int = 0
    own: int = 0
    unreadable: int = 0
    postponed: int = 0
    damaged: Mapping[str, int] = field(default_factory=dict)
    cropped: int = 0
    missing: int = 0
    missing_files: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    strays: int = 0
    photos: int = 0
    sport_words: Mapping[str, int] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()
    requests: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the report as the import's row keeps it."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """Return the report of which :meth:`to_json` made ``kept``; figures of other versions are left out."""
        known: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in kept.items()
            if name in cls.__dataclass_fields__
        }
        return cls(**known)


def report_of(
    import_id: int,
    index: ArchiveIndex,
    listing: Listing,
    counts: ImportCounts,
    unopened: Mapping[str, str],
    postponed: Mapping[str, str],
) -> Report:
    """Return the report of an import.

    ``unopened``: why members were not even opened, by name; ``postponed``: why others are to be read another time.
    """
    missing = index.missing
    faults = sorted([*counts.faults, *unopened.items(), *postponed.items()])
    return Report(
        import_id=import_id,
        rows=index.rows,
        merged=counts.told_by_api,
        gone=index.rows - counts.rows,
        skipped=dict(index.skipped),
        bad_rows=tuple(f"line {bad.line}: {bad.code}" for bad in index.bad),
        without_file=index.without_file,
        failed_exports=index.failed_exports,
        stray_filenames=index.stray_filenames,
        recordings=counts.files + len(unopened) + len(postponed),
        matched=counts.matched,
        own=counts.own,
        unreadable=len(faults),
        postponed=len(postponed),
        damaged=counts.damage,
        cropped=counts.cropped,
        missing=len(missing),
        missing_files=tuple(printable(name) for name in sorted(missing)[:NAMED]),
        faults=tuple(printable(fault) for _, fault in faults[:NAMED]),
        strays=listing.strays,
        photos=listing.media,
        sport_words=dict(sorted(_words(index).items(), key=lambda item: (-item[1], item[0]))[:NAMED]),
        doubts=tuple(printable(f"{name}: {doubt}") for name, doubt in counts.doubts[:NAMED]),
    )


def _words(index: ArchiveIndex) -> dict[str, int]:
    return {printable(word)[:_LONGEST_WORD]: count for word, count in index.unknown_words.items()}
