"""Compares computed figures with Strava's own, on recorded activities.

``python -m benchmarks.analysis_agreement FOLDER``, where FOLDER contains recorded answers: ATHLETE/activities/ID.json
(details) and ATHLETE/streams/ID.json. A relative difference is ours minus Strava's, divided by Strava's. If the
recorded streams end before the activity does, only the splits within them are compared. Takes a second or two.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polyline

from benchmarks.figure import show
from strava_pipeline.analysis.figures import Analysis, analyse
from strava_pipeline.analysis.geo import haversine_m
from strava_pipeline.analysis.track import track_from_streams
from strava_pipeline.strava.mapping.streams import map_streams

# Streams that reach this share of the activity's distance count as whole.
WHOLE = 0.98
FIGURES = (
    ("distance", "distance_m"),
    ("moving_time", "moving_time_s"),
    ("elapsed_time", "elapsed_time_s"),
    ("total_elevation_gain", "elevation_gain_m"),
    ("average_watts", "average_power_w"),
    ("average_heartrate", "average_heartrate_bpm"),
)
JsonObject = dict[str, Any]


def main() -> None:
    """Compare each recorded activity that has streams."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    recordings = list(_recordings(parser.parse_args().folder))
    show("recorded activities with streams", len(recordings))
    for detail, streams in recordings:
        _compare(detail, analyse(track_from_streams(map_streams(0, detail["id"], streams))))


def _recordings(folder: Path) -> Iterator[tuple[JsonObject, JsonObject]]:
    for path in sorted(folder.glob("*/streams/*.json")):
        body = json.loads(path.read_text())
        streams = {stream["type"]: stream for stream in body} if isinstance(body, list) else body
        yield json.loads((path.parent.parent / "activities" / path.name).read_text()), streams


def _compare(detail: JsonObject, analysis: Analysis) -> None:
    name = f"{detail['type']} {detail['id']}"
    figures = analysis.figures
    covered = (figures.distance_m or 0) / detail["distance"]
    show(f"{name}: samples", figures.point_count)
    show(f"{name}: distance covered by the streams", 100 * min(covered, 1), "%")
    if covered >= WHOLE:
        for theirs, ours in FIGURES:
            _show_difference(f"{name}: {theirs}", getattr(figures, ours), detail.get(theirs))
    line = (detail.get("map") or {}).get("polyline")
    if line:
        latitude, longitude = np.array(polyline.decode(line)).T
        _show_difference(
            f"{name}: distance along Strava's polyline", haversine_m(latitude, longitude).sum(), detail["distance"]
        )
    _compare_splits(name, detail, analysis)


def _compare_splits(name: str, detail: JsonObject, analysis: Analysis) -> None:
    """Compare speeds of splits, not times: Strava ends a split at a sample, the analysis at the exact metre."""
    end = analysis.figures.distance_m or 0
    ours = {split.split: split for split in analysis.splits if split.unit == "metric" and split.distance_m > 999}
    reached = 0.0
    found: dict[str, list[float]] = {"speed": [], "heart rate": []}
    for split in detail.get("splits_metric") or []:
        reached += split["distance"]
        own = ours.get(split["split"])
        if own is None or reached > end:
            continue
        if own.average_speed_mps and split["average_speed"]:
            found["speed"].append(own.average_speed_mps / split["average_speed"] - 1)
        if own.average_heartrate_bpm and split.get("average_heartrate"):
            found["heart rate"].append(own.average_heartrate_bpm / split["average_heartrate"] - 1)
    for figure, differences in found.items():
        if differences:
            show(f"{name}: splits compared by {figure}", len(differences))
            show(f"{name}: split {figure}, median difference", 100 * statistics.median(differences), "%")
            show(f"{name}: split {figure}, largest difference", 100 * max(differences, key=abs), "%")


def _show_difference(name: str, ours: float | None, theirs: float | None) -> None:
    if ours is None or not theirs:
        show(name, "no stream" if theirs else "not told")
    else:
        show(name, 100 * (float(ours) / theirs - 1), "%")


if __name__ == "__main__":
    main()
