"""One of those that share a home has its lock; where nobody can be asked, each has it."""

from __future__ import annotations

from pathlib import Path

from strava_pipeline.local.home_lock import HomeLock


def test_one_at_a_time_has_it(tmp_path: Path) -> None:
    first, second = (HomeLock.open(tmp_path / "lock") for _ in range(2))
    assert first.acquire()
    assert not second.acquire()
    assert first.acquire()
    first.close()
    assert second.acquire()
    second.close()
    second.close()


def test_where_it_cannot_be_made_each_has_it(tmp_path: Path) -> None:
    assert all(HomeLock.open(tmp_path / "gone" / "lock").acquire() for _ in range(2))
