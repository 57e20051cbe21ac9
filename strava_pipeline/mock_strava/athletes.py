"""Generated athletes: name, home, fitness and gear."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from strava_pipeline.mock_strava.routes import StartPoint
from strava_pipeline.mock_strava.shapes import JsonObject

PICTURES = "https://pictures.example.invalid/athletes"
RESTING_BPM = 52
HIGHEST_BPM = 188
ZONE_SHARES = (0.6, 0.75, 0.82, 0.9)
GENERATED_SPORTS = frozenset({"Ride", "Run", "TrailRun", "Swim"})
POWER_SHARES = (0.55, 0.75, 0.9, 1.05, 1.2, 1.5)


@dataclass(frozen=True)
class Profile:
    """The properties of an athlete from which outings are generated. Speeds are on the flat.

    ``sports``: each entry is drawn equally often.
    """

    athlete_id: int
    home: StartPoint
    zone: ZoneInfo
    ftp_w: int
    weight_kg: float
    ride_mps: float
    run_mps: float
    bike: str | None
    shoe: str | None
    sports: tuple[str, ...]


CYCLIST = Profile(
    athlete_id=118_204_771,
    home=StartPoint(47.6603, 9.1758, 405.0),
    zone=ZoneInfo("Europe/Berlin"),
    ftp_w=262,
    weight_kg=68.4,
    ride_mps=8.6,
    run_mps=3.1,
    bike="b12860417",
    shoe="g17350926",
    sports=("Ride", "Ride", "Ride", "Ride", "Run", "TrailRun"),
)
RUNNER = Profile(
    athlete_id=97_350_046,
    home=StartPoint(12.9716, 77.5946, 915.0),
    zone=ZoneInfo("Asia/Kolkata"),
    ftp_w=218,
    weight_kg=61.0,
    ride_mps=7.4,
    run_mps=3.5,
    bike="b13377002",
    shoe="g18114530",
    sports=("Run", "Run", "Run", "TrailRun", "Ride"),
)


def cyclist_body() -> JsonObject:
    """Return the cyclist's detailed body, as in ``GET /athlete``."""
    return _detailed(
        CYCLIST,
        ("nora_lindqvist", "Nora", "Lindqvist", "Konstanz", "Baden-Württemberg", "Germany", "F"),
        bio="Hills, cake, repeat.",
        measurement="meters",
    )


def runner_body() -> JsonObject:
    """Return the runner's detailed body, with quotes and an emoji in the name."""
    return _detailed(
        RUNNER,
        (None, 'Aarav "Zippy"', "O'Rao 🏃", "Bengaluru", "Karnataka", "", "M"),
        bio='Runs on "filter coffee" & optimism.\n🦔',
        measurement="feet",
    )


def gear_bodies(profile: Profile) -> dict[str, JsonObject]:
    """Return the body of each item by its id, as in ``GET /gear/{id}``."""
    items = {}
    if profile.bike:
        items[profile.bike] = _item(profile.bike, "Gravel Queen 👑", 3_412_770, "Maker A", "Model 1") | {
            "frame_type": 3,
            "weight": 8.6,
        }
    if profile.shoe:
        items[profile.shoe] = _item(profile.shoe, "Pair nº 7", 412_305, "Maker B", "Model 2") | {
            "notification_distance": 700
        }
    return items


def gear_summary(item: JsonObject) -> JsonObject:
    """Return an item's summary, as it appears in athletes and activities."""
    shown = ("id", "primary", "name", "nickname", "resource_state", "retired", "distance", "converted_distance")
    return {key: item[key] for key in shown} | {"resource_state": 2}


def zone_bodies(ftp_w: int | None) -> JsonObject:
    """Return the body of ``GET /athlete/zones``; power zones only with an FTP (W)."""
    zones: JsonObject = {"heart_rate": {"custom_zones": False, "zones": _bands(ZONE_SHARES, HIGHEST_BPM)}}
    if ftp_w:
        zones["power"] = {"zones": _bands(POWER_SHARES, ftp_w)}
    return zones


def profile_like(athlete: JsonObject, newest: JsonObject | None) -> Profile:
    """Return a profile of a recorded athlete, at home where their newest activity began, to generate outings."""
    body = newest or {}
    latitude, longitude = body.get("start_latlng") or (CYCLIST.home.latitude, CYCLIST.home.longitude)
    sport = str(body.get("sport_type") or body.get("type"))
    ids = {kind: [item["id"] for item in athlete.get(kind) or []] for kind in ("bikes", "shoes")}
    return Profile(
        athlete_id=athlete["id"],
        home=StartPoint(latitude, longitude, 100.0),
        zone=_zone(str(body.get("timezone", ""))),
        ftp_w=athlete.get("ftp") or CYCLIST.ftp_w,
        weight_kg=athlete.get("weight") or CYCLIST.weight_kg,
        ride_mps=CYCLIST.ride_mps,
        run_mps=CYCLIST.run_mps,
        bike=next(iter(ids["bikes"]), None),
        shoe=next(iter(ids["shoes"]), None),
        sports=(sport if sport in GENERATED_SPORTS else "Ride",),
    )


def _zone(timezone: str) -> ZoneInfo:
    """Return the time zone of Strava's text ``(GMT-05:00) America/New_York``; UTC if it names none."""
    try:
        return ZoneInfo(timezone.rpartition(" ")[2] or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def _bands(shares: tuple[float, ...], top: int) -> list[JsonObject]:
    edges = [0, *(round(share * top) for share in shares), -1]
    return [{"min": low, "max": high} for low, high in pairwise(edges)]


def _item(gear_id: str, name: str, distance_m: int, brand: str, model: str) -> JsonObject:
    return {
        "id": gear_id,
        "primary": True,
        "name": name,
        "nickname": "",
        "resource_state": 3,
        "retired": False,
        "distance": distance_m,
        "converted_distance": round(distance_m / 1000, 1),
        "brand_name": brand,
        "model_name": model,
        "description": "",
    }


def _detailed(profile: Profile, person: tuple[str | None, ...], *, bio: str, measurement: str) -> JsonObject:
    username, firstname, lastname, city, state, country, sex = person
    gear = [gear_summary(item) for item in gear_bodies(profile).values()]
    return {
        "id": profile.athlete_id,
        "username": username,
        "resource_state": 3,
        "firstname": firstname,
        "lastname": lastname,
        "bio": bio,
        "city": city,
        "state": state,
        "country": country,
        "sex": sex,
        "premium": True,
        "summit": True,
        "created_at": "2019-03-02T08:11:54Z",
        "updated_at": "2026-05-30T17:40:02Z",
        "badge_type_id": 1,
        "weight": profile.weight_kg,
        "profile_medium": f"{PICTURES}/{profile.athlete_id}/medium.jpg",
        "profile": f"{PICTURES}/{profile.athlete_id}/large.jpg",
        "friend": None,
        "follower": None,
        "blocked": False,
        "can_follow": True,
        "follower_count": 84,
        "friend_count": 61,
        "mutual_friend_count": 0,
        "athlete_type": 0 if measurement == "meters" else 1,
        "date_preference": "%d/%m/%Y",
        "measurement_preference": measurement,
        "clubs": [],
        "postable_clubs_count": 0,
        "ftp": profile.ftp_w,
        "bikes": [item for item in gear if item["id"].startswith("b")],
        "shoes": [item for item in gear if item["id"].startswith("g")],
    }
