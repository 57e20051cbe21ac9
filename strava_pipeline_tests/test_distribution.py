"""What users install holds all that the packages need, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from strava_pipeline_tests.distribution import build, faults, names_in


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], list[str]]:
    """The names of the files in the wheel and in the source archive."""
    return names_in(*build(tmp_path_factory.mktemp("dist")))


def test_wheel_and_archive_hold_what_is_ours_and_nothing_else(built: tuple[list[str], list[str]]) -> None:
    assert list(faults(*built)) == []


def test_a_file_too_few_or_too_many_would_be_found(built: tuple[list[str], list[str]]) -> None:
    wheel, archive = built
    lacking = [name for name in wheel if not name.endswith("py.typed")]
    named = Path(archive[0]).parts[0]
    told = list(faults([*lacking, "strava_pipeline_tests/ports.py"], [*archive, f"{named}/.env"]))
    assert told == [
        "the wheel lacks strava_pipeline/py.typed",
        "the wheel lacks webhook_bridge/py.typed",
        "the wheel has strava_pipeline_tests/ports.py, which is none of ours",
        "the archive has .env, which is none of ours",
    ]
