from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from strava_pipeline.files.fit.checksums import checksum
from strava_pipeline.mock_strava.fit_file import fit_checksum


def test_the_checksum_is_the_known_one() -> None:
    # The check value of CRC-16/ARC: https://reveng.sourceforge.io/crc-catalogue/16.htm
    assert checksum(b"123456789") == 0xBB3D


@given(st.binary(max_size=200), st.integers(0, 5_000))
def test_many_bytes_at_once_give_the_checksum_of_one_after_the_other(content: bytes, zeros: int) -> None:
    whole = content + bytes(zeros) + content
    assert checksum(whole) == fit_checksum(whole)


@given(st.binary(max_size=200))
def test_content_with_its_own_checksum_gives_nothing(content: bytes) -> None:
    assert checksum(content + checksum(content).to_bytes(2, "little")) == 0
