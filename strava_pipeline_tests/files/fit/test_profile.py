"""The tables of the profile against another decoder's."""

from __future__ import annotations

import re

import pytest
from fitdecode.profile import FIELD_TYPES, MESSAGE_TYPES

from strava_pipeline.files.fit.devices import MANUFACTURERS
from strava_pipeline.files.fit.garmin_products import GARMIN_PRODUCTS
from strava_pipeline.files.fit.profile import CHANNELS
from strava_pipeline_tests.files.fit.made_up import RECORD

RECORD_FIELDS = MESSAGE_TYPES[RECORD].fields
# Watches are called by their series there.
SHORT = {"forerunner": "fr"}


def letters(name: str) -> str:
    for long, short in SHORT.items():
        name = name.lower().replace(long, short)
    return re.sub(r"[^a-z0-9]", "", name.lower())


@pytest.mark.parametrize("number", CHANNELS)
def test_channels_have_the_names_and_scales_of_the_profile(number: int) -> None:
    ours, theirs = CHANNELS[number], RECORD_FIELDS[number]
    assert (ours.name, ours.scale, ours.offset) == (theirs.name, theirs.scale or 1, theirs.offset or 0)


def test_manufacturers_are_those_of_the_profile() -> None:
    known = FIELD_TYPES["manufacturer"].enum
    odd = {number: (name, known[number]) for number, name in MANUFACTURERS.items() if number in known}
    assert len(odd) == len(MANUFACTURERS)
    first = {number: (letters(name)[:3], letters(theirs)[:3]) for number, (name, theirs) in odd.items()}
    assert {number for number, (ours, theirs) in first.items() if ours != theirs} == {282}  # was renamed


def test_products_are_those_of_the_profile() -> None:
    known = FIELD_TYPES["garmin_product"].enum
    assert GARMIN_PRODUCTS.keys() <= known.keys()
    for number, name in GARMIN_PRODUCTS.items():
        first, *_ = name.split()
        model = re.search(r"\d+", name)
        theirs = letters(known[number])
        assert theirs.startswith(letters(first)[:2])
        assert model is None or model[0] in theirs
