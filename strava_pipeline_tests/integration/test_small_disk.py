"""The small disk is really full, and has room again."""

from __future__ import annotations

from pathlib import Path

import pytest

from strava_pipeline_tests.small_disk import small_disk


def test_a_full_disk_takes_no_byte_until_it_is_emptied(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    with small_disk(folder, 2**22) as disk:
        wanted = disk.folder / "wanted"
        wanted.write_bytes(bytes(2**20))
        disk.fill()
        assert disk.free_bytes == 0
        with pytest.raises(OSError, match="No space left on device"):
            wanted.write_bytes(bytes(2**21))
        disk.empty()
        wanted.write_bytes(bytes(2**21))
    assert not wanted.exists()
